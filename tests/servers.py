"""Real servers for tests, out of the wheels that mllm itself runs on."""

import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from signal import Signals
from uuid import uuid4

import nats
from nats.errors import Error as NatsError
from nats.js.api import StreamConfig

from cli.embedded import nats as embedded_nats
from cli.embedded import postgres as embedded_postgres
from cli.embedded.child import Part, command
from cli.embedded.datadir import DataDir
from tests.support import PATIENCE, eventually

NODE = """\
server_name: {name}
listen: 127.0.0.1:{port}
jetstream {{ store_dir: "{store}", sync_interval: always, max_file_store: 1TB }}
cluster {{ name: mllm, listen: 127.0.0.1:{cluster_port}, routes: [{routes}] }}
"""


class Server:
    """A server that its test may kill, and start again on the same data and address."""

    def __init__(self, part: Part, url: str, log: Path) -> None:
        self.url = url
        self._part = part
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self.launch()
        await self.serves()

    def launch(self) -> None:
        """Start it, and do not wait."""
        with self._log.open("ab") as log:
            argv = command(self._part.argv, self._part.orphaned, self._part.account)
            self._process = subprocess.Popen(
                argv, stdout=log, stderr=log, env=dict(self._part.env), start_new_session=True
            )

    async def serves(self) -> None:
        """Wait until it answers. Raises `TimeoutError`."""
        await eventually(self._part.ready)

    def signal(self, signal: Signals) -> None:
        """Send SIGSTOP or SIGCONT; to end it there are `stop` and `kill`."""
        if self._process is not None:
            self._process.send_signal(signal)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(self._part.stop)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE)
        self.kill()


def nats_server(home: Path) -> Server:
    """A NATS on a port of its own, its data below `home`."""
    server = embedded_nats.prepare(_data_dir(home))
    return Server(server.part, server.url, home / "nats.log")


async def postgres_server(home: Path) -> Server:
    """A Postgres with its data below `home`; quick rather than proof against power cuts."""
    server = await embedded_postgres.prepare(_data_dir(home))
    part = replace(server.part, argv=(*server.part.argv, "-c", "fsync=off"))
    return Server(part, server.url, home / "postgres.log")


def nats_cluster(home: Path, size: int = 3) -> Sequence[Server]:
    """The nodes of a cluster; once all are launched, wait for `replicates`."""
    ports = embedded_nats.free_ports(2 * size)
    routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports[size:])
    nodes: list[Server] = []
    for index, (port, cluster_port) in enumerate(zip(ports[:size], ports[size:], strict=True)):
        name = f"n{index}"
        config = home / f"{name}.conf"
        config.write_text(
            NODE.format(
                name=name, port=port, store=home / name, cluster_port=cluster_port, routes=routes
            )
        )
        url = f"nats://127.0.0.1:{port}"
        argv = (str(embedded_nats.binary()), "-c", str(config))
        part = Part(name, argv, partial(embedded_nats.answers, url), embedded_nats.ENV)
        nodes.append(Server(part, url, home / f"{name}.log"))
    return nodes


async def replicates(urls: Sequence[str], replicas: int = 3) -> None:
    """Wait until the cluster has a leader that knows enough peers to keep that many copies."""
    name = f"probe{uuid4().hex}"
    connection = await nats.connect(list(urls), connect_timeout=PATIENCE)
    jetstream = connection.jetstream()

    async def made() -> bool:
        try:
            await jetstream.add_stream(StreamConfig(name=name, num_replicas=replicas))
        except (NatsError, TimeoutError):
            return False
        return True

    try:
        await eventually(made)
        await jetstream.delete_stream(name)
    finally:
        await connection.close()


async def delete_streams(urls: Sequence[str], prefix: str) -> None:
    """Delete every stream, and every key-value bucket, with `prefix` in its name."""
    connection = await nats.connect(list(urls), connect_timeout=PATIENCE)
    try:
        jetstream = connection.jetstream(timeout=PATIENCE)
        for stream in await jetstream.streams_info():
            if stream.config.name and prefix in stream.config.name.lower():
                await jetstream.delete_stream(stream.config.name)
    finally:
        await connection.close()


def _data_dir(home: Path) -> DataDir:
    data = DataDir(home)
    for directory in (data.nats, data.run, data.logs):
        directory.mkdir(parents=True, exist_ok=True)
    return data
