"""A gateway as in production, on real NATS and, where a test wants it, real Postgres.

Only the Hub, and what models run in, are made up: `Plans` and `World` answer as a test says.
"""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Coroutine,
    Generator,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any, cast

import httpx
import msgspec
import pytest
import uvicorn
from litestar import Litestar
from nats.aio.client import Client
from nats.aio.msg import Msg
from psycopg import AsyncConnection, OperationalError
from psycopg_pool import AsyncConnectionPool
from ulid import ULID

from commands import idempotency, jetstream
from commands.activating import Activations
from commands.cataloging import Catalog
from commands.dispatch import Dispatcher
from commands.holding import HoldingsOnLog
from commands.idempotency import KeyNames, Keys
from commands.jetstream import JetStreamLog, LogNames
from commands.ordering import Orders
from gateway import engines, health, nesting, reading, serving, slots, subscription
from gateway.app import create_app
from gateway.ending import end
from gateway.heading import Protocol
from gateway.listening import listen
from gateway.ports import EngineKey, Ports, keyless
from gateway.settings import DEFAULTS, Settings
from processors import job_logs, live
from processors.job_logs import Logs, LogStreamNames
from processors.live import Live, LiveNames
from processors.secrets import FileSecrets
from projections import migrations, projection
from projections.catalog import PROJECTIONS
from projections.checkpoints import Positions
from schemas import wire
from schemas.advice import Advisor
from schemas.bearer import bearer_of, token_id_and_hash
from schemas.facts import Facts
from schemas.idempotency import Answer
from schemas.job import BeginCommit, CompleteJob, FinishedFile, InstallSpec, Order, StartAttempt
from schemas.log import Commit, Outcome, Stream
from schemas.manifest import Manifest, WeightsSource
from schemas.message import Command, Context, Rejected
from schemas.plan import Plan, PlannedFile, Wanted, content_key
from schemas.runtime import CompleteActivation, EnterPhase, Phase, StartActivation, Wish
from schemas.token import IssueToken, Scope
from schemas.weights import RecordInstalled
from tests.gateway.sse import Message, messages
from tests.gateway.worlds import Advice, Checks, World
from tests.support import PATIENCE, eventually

EPOCH = "01EPOCH"
COMMIT = "c" * 40

LIMITS = (
    (engines, "CONNECT_SECONDS"),
    (health, "PATIENCE_SECONDS"),
    (nesting, "PATIENCE"),
    (reading, "CONNECT_SECONDS"),
    (reading, "QUERY_SECONDS"),
    (serving, "PATIENCE_SECONDS"),
    (slots, "PATIENCE_SECONDS"),
    (subscription, "READY_SECONDS"),
)
"""For how long a gateway waits for others, before it says that they do not answer."""

UNPROJECTED = 0.5
"""Seconds that read models are waited for which nobody keeps up to date."""


class Plans:
    """A `Planner` whose Hub has every repository, each with two files, unless told otherwise."""

    def __init__(self) -> None:
        self.refusal: Rejected | None = None

    async def plan(self, wanted: Wanted, namespace: str) -> Plan:
        if self.refusal is not None:
            raise self.refusal
        files = tuple(
            PlannedFile(name, size, "sha256", name[0] * 64)
            for name, size in (("config.json", 100), ("model.safetensors", 10_000))
        )
        return Plan(
            repo=wanted.repo,
            revision=wanted.revision,
            commit=COMMIT,
            target=wanted.target or wanted.repo,
            store=wanted.store or "default",
            files=files,
            left_out=(),
            bytes=sum(file.size for file in files),
            key=content_key(wanted.repo, COMMIT, files),
        )


class Forgetful(Keys):
    """Idempotency keys of a gateway that is killed, if so asked, before it keeps an answer."""

    killed = False

    async def answer(self, scope: str, key: str, answer: Answer) -> None:
        if not self.killed:
            await super().answer(scope, key, answer)


class Patient(Client):
    """A connection on which nobody gives an answer up sooner than `patience` says."""

    def __init__(self, patience: float) -> None:
        super().__init__()
        self.patience = patience

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        timeout: float = 0.5,  # noqa: ASYNC109
        old_style: bool = False,
        headers: dict[str, Any] | None = None,
    ) -> Msg:
        longer = max(timeout, self.patience)
        return await super().request(subject, payload, longer, old_style, headers)


class HeardLog(JetStreamLog):
    """A gateway's log, which knows up to where the gateway has heard it."""

    def __init__(self, nats: Client, names: LogNames, patience: float) -> None:
        super().__init__(nats, names, patience)
        self._heard = 0
        self._more = asyncio.Condition()

    async def follow(self, after: int) -> AsyncIterator[Sequence[Commit]]:
        following = cast(AsyncGenerator[Sequence[Commit]], super().follow(after))
        async with aclosing(following) as batches:
            async for batch in batches:
                yield batch  # comes back when the gateway has taken it in, and asks for more
                async with self._more:
                    self._heard = batch[-1].position
                    self._more.notify_all()

    async def heard(self) -> None:
        """Wait until the gateway has heard what there is now: that is a little after the append."""
        end = await self.end()
        async with asyncio.timeout(PATIENCE), self._more:
            await self._more.wait_for(lambda: self._heard >= end)


class Rig:
    """One gateway, listening; `admin` is a bearer that may do everything."""

    def __init__(self, connection: Patient, prefix: str, home: Path) -> None:
        patience = connection.patience
        self.nats = connection
        self.names = LogNames(prefix)
        self.log = HeardLog(connection, self.names, patience)
        self.dispatch = Dispatcher(self.log, 2 * patience)
        self.orders = Orders(self.log, self.dispatch)
        self.world = World()
        self.checks = Checks()
        self.advice = Advice()
        self.advisor: Advisor = self.advice
        self.catalog = Catalog(self.log, self.dispatch, self.log)
        self.activations = Activations(self.log, self.dispatch, self.checks)
        self.plans = Plans()
        self.live = Live(connection, LiveNames(prefix))
        self.line_names = LogStreamNames(prefix)
        self.lines = Logs(connection, self.line_names)
        self.keys = Forgetful(connection, KeyNames(prefix), patience)
        self.secrets = FileSecrets(home / "secrets")
        self.engine_key: EngineKey = keyless
        self.database_url = ""
        self.admin = ""
        self.app: Litestar
        self.url = ""
        self.client: httpx.AsyncClient

    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[AsyncConnection[Any]]:
        """A connection to Postgres, if there is one."""
        raise OperationalError("Postgres is stopped")
        yield

    def ports(self, pool: AsyncConnectionPool[Any] | None) -> Ports:
        return Ports(
            log=self.log,
            dispatch=self.dispatch,
            orders=self.orders,
            catalog=self.catalog,
            activations=self.activations,
            holdings=HoldingsOnLog(self.log),
            inspector=self.checks,
            workloads=self.world,
            advisor=self.advisor,
            planner=self.plans,
            secrets=self.secrets,
            keys=self.keys,
            live=self.live,
            job_logs=self.lines,
            connect=pool.connection if pool else self.connect,
            epoch=lambda: EPOCH,
            version="1.2.3",
            most_replicas=4,
            engine_key=lambda there: self.engine_key(there),
        )

    def context(self, namespace: str = "default") -> Context:
        return Context(command=str(ULID()), at=datetime.now(UTC), actor="test", namespace=namespace)

    async def say(self, command: Command, namespace: str = "default") -> Outcome:
        return await self.dispatch(command, self.context(namespace))

    async def issue(
        self,
        *scopes: Scope,
        namespaces: Sequence[str] = ("default",),
        expires_at: datetime | None = None,
    ) -> str:
        """A new token's bearer."""
        bearer = bearer_of(str(ULID()), token_hex(32))
        token, hash = token_id_and_hash(bearer)
        command = IssueToken(token, "a test's", hash, scopes, tuple(namespaces), expires_at)
        await self.say(command, "system")
        return bearer

    async def order(
        self, target: str, namespace: str = "default", *, overwrite: bool = False
    ) -> Outcome:
        """Order an install past the gateway."""
        wanted = Wanted(repo=target, overwrite=overwrite)
        plan = await self.plans.plan(wanted, namespace)
        spec: InstallSpec = plan.spec(wanted)
        order = Order(str(ULID()), target, "default", 1, spec)
        return await self.orders.install(order, self.context(namespace))

    async def install(
        self,
        target: str,
        path: str = "model.safetensors",
        *,
        overwrite: bool = False,
        facts: Facts | None = None,
        others: Mapping[str, Facts] = {},
    ) -> Outcome:
        """Have weights of one file installed; the manifest's hash begins as the path does."""
        ordered = await self.order(target, overwrite=overwrite)
        job, manifest = ordered.history[0].stream.id, path[0] * 64
        file = FinishedFile(path, 10, "sha256", "f" * 64)
        await self.say(StartAttempt(job, 1, "w1"))
        await self.say(BeginCommit(job, 1, manifest))
        left_out = ("model.bin",)
        await self.say(
            RecordInstalled(target, job, manifest, 10, 1, 1, (file,), left_out, facts, others)
        )
        return await self.say(CompleteJob(job, 1, 10, 1))

    async def register(self, model: str, target: str = "org/model", **more: Any) -> int:
        """Have a model in the catalog, past the gateway; the position reached."""
        manifest = Manifest(model, WeightsSource(target), **more)
        return (await self.catalog.apply(manifest, self.context())).position

    async def activate(self, model: str, slot: str = "active-llm", **more: Any) -> str:
        """Have an activation asked for, past the gateway; its id."""
        wish = Wish(str(ULID()), model, slot, "somebody", **more)
        await self.activations.activate(wish, self.context())
        return wish.activation

    async def serve(self, model: str, slot: str = "active-llm", **more: Any) -> str:
        """Have a model serve, as far as the log can tell; its activation."""
        id = await self.activate(model, slot, **more)
        await self.say(StartActivation(slot, id, "worker"))
        for ms, phase in enumerate(("start", "switch", "remove")):
            await self.say(EnterPhase(slot, id, cast(Phase, phase), ms))
        await self.say(CompleteActivation(slot, id, 3))
        return id

    async def append_foreign(self, kind: str, data: bytes) -> None:
        """What a newer version may have written."""
        stream = Stream("default", kind.partition(".")[0], str(ULID()))
        subject = self.names.subject(stream)
        await self.nats.jetstream().publish(
            subject,
            data,
            headers={
                "Nats-Msg-Id": f"{ULID()}@{subject}",
                wire.TYPES: kind,
                wire.ACTOR: "newer",
                wire.CORRELATION: "c",
                wire.WRITTEN: datetime.now(UTC).isoformat(),
            },
        )

    async def ask(
        self, method: str, path: str, bearer: str | None = None, **more: Any
    ) -> httpx.Response:
        """One request, by the administrator unless said otherwise; an empty bearer is none."""
        headers = dict(more.pop("headers", {}))
        if bearer != "":
            headers.setdefault("Authorization", f"Bearer {bearer or self.admin}")
        return await self.client.request(method, path, headers=headers, **more)

    async def get(self, path: str, **query: Any) -> Any:
        """What is there, after all that was written, unless `query` says as of when."""
        headers: dict[str, str] = {}
        if not query.keys() & {"min_sequence", "as_of"}:
            headers["X-Min-Sequence"] = str(await self.log.end())
        answer = await self.ask("GET", path, params=query, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def settled(self) -> None:
        """Wait until every read model has seen what is on the log now."""

        async def seen() -> bool:
            found = (await self.get("/projections"))["items"]
            return all(one["lag"] == 0 for one in found)

        await eventually(seen)

    @asynccontextmanager
    async def stream(
        self, query: str = "", bearer: str | None = None, **headers: str
    ) -> AsyncGenerator[AsyncIterator[Message]]:
        """The messages of `GET /events`, comments too, from a gateway that has heard what there is
        so far: what it has yet to hear is not yet the past."""
        await self.log.heard()
        async with self.listen(query, bearer, **headers) as found:
            yield found

    @asynccontextmanager
    async def listen(
        self, query: str = "", bearer: str | None = None, **headers: str
    ) -> AsyncGenerator[AsyncIterator[Message]]:
        """The messages of `GET /events`, however far the gateway is."""
        sent = {"Authorization": f"Bearer {bearer or self.admin}", **headers}
        async with self.client.stream("GET", f"/events?{query}", headers=sent) as answer:
            assert answer.status_code == 200, await answer.aread()
            yield messages(answer.aiter_raw())


@asynccontextmanager
async def gateway(
    nats_url: str,
    prefix: str,
    home: Path,
    database_url: str = "",
    *,
    projecting: bool = True,
    settings: Settings = DEFAULTS,
    advisor: Advisor | None = None,
    patience: float = PATIENCE,
) -> AsyncGenerator[Rig]:
    """A gateway that waits for NATS and Postgres, and the test for it, as long as a busy machine
    takes; less `patience` is for when one of them is away."""
    async with AsyncExitStack() as stack:
        stack.enter_context(_limited(patience, patience if projecting else UNPROJECTED))
        connection = Patient(patience)
        await connection.connect(nats_url)
        stack.push_async_callback(connection.close)
        rig = Rig(connection, prefix, home)
        rig.advisor = advisor or rig.advice
        rig.database_url = database_url
        await _make_streams(connection, prefix)
        await rig.log.start()
        stack.push_async_callback(rig.log.stop)
        pool = None
        if database_url:
            pool = AsyncConnectionPool(
                database_url, kwargs={"autocommit": True}, open=False, timeout=PATIENCE
            )
            await stack.enter_async_context(pool)
            async with pool.connection() as db:
                await migrations.migrate(db)
            if projecting:
                await stack.enter_async_context(_projecting(rig))
        rig.admin = await rig.issue("admin", namespaces=("*",))
        rig.app = create_app(rig.ports(pool), settings)
        rig.url = await stack.enter_async_context(_served(rig.app, settings))
        client = httpx.AsyncClient(base_url=rig.url, timeout=PATIENCE)
        rig.client = await stack.enter_async_context(client)
        yield rig


@contextmanager
def _limited(patience: float, lag: float) -> Generator[None]:
    """Have gateways wait `patience` seconds for others, and `lag` seconds for read models."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in LIMITS:
            patch.setattr(module, name, patience)
        patch.setattr(Positions.reached, "__defaults__", (lag,))
        yield


async def _make_streams(connection: Client, prefix: str) -> None:
    js = connection.jetstream()
    for config in (
        jetstream.stream_config(LogNames(prefix), replicas=1, epoch=EPOCH, max_bytes=1 << 30),
        idempotency.stream_config(KeyNames(prefix), replicas=1),
        live.stream_config(LiveNames(prefix), replicas=1),
        job_logs.stream_config(LogStreamNames(prefix), replicas=1),
    ):
        await js.add_stream(config)


@asynccontextmanager
async def _projecting(rig: Rig) -> AsyncGenerator[None]:
    log = JetStreamLog(rig.nats, rig.names, PATIENCE)  # that of the gateway is heard by it alone
    await log.start()
    try:
        async with running(
            *(projection.run(one, log, rig.database_url, epoch=EPOCH) for one in PROJECTIONS)
        ):
            yield
    finally:
        await log.stop()


@asynccontextmanager
async def running(*work: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    """Keep things running for the length of a block."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
    finally:
        for task in tasks:
            await end(task)


@asynccontextmanager
async def _served(app: Litestar, settings: Settings) -> AsyncGenerator[str]:
    """The application on a port of its own; the port's address."""
    config = uvicorn.Config(
        cast(Any, app),
        http=Protocol,
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)
    listener = listen("127.0.0.1", 0, settings.stuck_seconds)
    task = asyncio.create_task(server.serve(sockets=[listener]))

    async def started() -> bool:
        return server.started or task.done()

    await eventually(started)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        app.state.connections.end_all()
        server.should_exit = True
        await task
        listener.close()


def problem(answer: httpx.Response) -> str:
    """The code of a refusal, which has to be a whole one."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = msgspec.json.decode(answer.content)
    assert body["status"] == answer.status_code
    assert body["requestId"] == answer.headers["x-request-id"]
    assert body["type"] == f"urn:mllm:problem:{body['code']}"
    code: str = body["code"]
    return code
