"""One namespace of a Kubernetes cluster, as bytes and plain objects: ask, apply, delete, watch.

Nothing here knows what the objects mean. Bodies are decoded by whoever asks, into the part of the
object that it wants, and every failure is a `ClusterError`.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeAlias, TypeVar

import msgspec
from aiohttp import ClientError, ClientResponse, ClientTimeout

from processors.kserve.access import UNUSABLE, Access, Connected, connect
from processors.kserve.kinds import Kind
from processors.kserve.refusals import ClusterError, refusal

MANAGER = "mllm"
PAGE = 500
LINE_LIMIT = 8 << 20
WATCH_SECONDS = 290
SILENCE_SECONDS = 90.0
"""The server says something, if only a bookmark, about every minute: after this it is gone."""

T = TypeVar("T")
Object: TypeAlias = dict[str, Any]
Query: TypeAlias = Mapping[str, str]

JSON = "application/json"
APPLY = "application/apply-patch+yaml"


class Selection(NamedTuple):
    """Which objects of a kind: by labels, by fields; `everywhere`: in no namespace, or in any."""

    labels: str = ""
    fields: str = ""
    everywhere: bool = False

    @property
    def query(self) -> Query:
        asked = {"labelSelector": self.labels, "fieldSelector": self.fields}
        return {key: value for key, value in asked.items() if value}


EVERYWHERE = Selection(everywhere=True)


class Page(NamedTuple):
    """Some of the objects of a list, each as its JSON, and the version of the whole."""

    items: tuple[msgspec.Raw, ...]
    version: str


class ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class ListBody(msgspec.Struct):
    metadata: ListMeta
    items: tuple[msgspec.Raw, ...] = ()


class Request(NamedTuple):
    method: str
    path: str
    query: Query
    body: Object | None = None
    content: str = JSON


class Cluster:
    """Connects when it is first asked. `namespace` "" is that of the context, or of our pod.

    `patience` is how many seconds an answer may take. Every method raises `ClusterError`.
    """

    def __init__(
        self,
        access: Access | None = None,
        namespace: str = "",
        *,
        patience: float = 10.0,
        silence: float = SILENCE_SECONDS,
    ) -> None:
        self._access = access or Access()
        self._namespace = namespace
        self._patience = ClientTimeout(total=patience)
        self._endless = ClientTimeout(total=None, sock_connect=patience, sock_read=silence)
        self._quiet = ClientTimeout(total=None, sock_connect=patience)
        self._connected: Connected | None = None
        self._connecting = asyncio.Lock()

    async def close(self) -> None:
        connected, self._connected = self._connected, None
        if connected is not None:
            await connected.client.close()

    async def namespace(self) -> str:
        """The one that everything here is about."""
        return self._namespace or (await self._connection()).namespace

    async def inside(self) -> bool:
        """Whether we run in the cluster, and can use addresses that only mean something there."""
        return (await self._connection()).inside

    async def get(self, kind: Kind, name: str) -> bytes:
        return await self._ask(Request("GET", kind.path(await self.namespace(), name), {}))

    async def pages(self, kind: Kind, selection: Selection) -> AsyncIterator[Page]:
        """Everything selected, in pages that together are one state of the cluster.

        Raises `expired` when reading took so long that the server forgot that state.
        """
        path = kind.path(await self._where(selection))
        after = ""
        while True:
            query = {**selection.query, "limit": str(PAGE)}
            body = await self._ask(
                Request("GET", path, query | ({"continue": after} if after else {}))
            )
            found = _decoded(body, ListBody)
            yield Page(found.items, found.metadata.resource_version)
            after = found.metadata.continue_
            if not after:
                return

    async def apply(
        self, kind: Kind, wanted: Object, *, force: bool = False, dry_run: bool = False
    ) -> Object:
        """Server-side apply: the object as it is then, or would be.

        Raises `conflict` with the fields that others manage, unless `force` takes them over.
        """
        path = kind.path(await self.namespace(), str(wanted["metadata"]["name"]))
        query = {"fieldManager": MANAGER, "force": "true" if force else "false"}
        if dry_run:
            query["dryRun"] = "All"
        return _decoded(
            await self._ask(Request("PATCH", path, query, wanted, APPLY)), dict[str, Any]
        )

    async def delete(self, kind: Kind, name: str, *, uid: str, version: str) -> None:
        """Delete exactly this object, as it was seen. Raises `conflict` when it is another now."""
        body: Object = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid, "resourceVersion": version},
        }
        await self._ask(Request("DELETE", kind.path(await self.namespace(), name), {}, body))

    @asynccontextmanager
    async def watch(
        self, kind: Kind, selection: Selection, after: str
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Lines of JSON, one for each change past the version `after`, until the server ends it."""
        query = {
            **selection.query,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": after,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        path = kind.path(await self._where(selection))
        async with self._open(Request("GET", path, query), self._endless) as response:
            yield _lines(self._pieces(response))

    async def logs(self, pod: str, kind: Kind, query: Query) -> AsyncIterator[bytes]:
        """What a container wrote, as it comes. One that is followed may be silent for long."""
        manners = self._quiet if query.get("follow") == "true" else self._endless
        path = kind.path(await self.namespace(), pod, "log")
        async with self._open(Request("GET", path, query), manners) as response:
            async for piece in self._pieces(response):
                yield piece

    async def _where(self, selection: Selection) -> str:
        return "" if selection.everywhere else await self.namespace()

    async def _ask(self, request: Request) -> bytes:
        async with self._open(request, self._patience) as response:
            return await self._read(response)

    @asynccontextmanager
    async def _open(
        self, request: Request, manners: ClientTimeout
    ) -> AsyncGenerator[ClientResponse]:
        response = await self._send(request, manners)
        try:
            if not 200 <= response.status < 300:
                raise refusal(response.status, await self._read(response), request.path)
            yield response
        finally:
            response.close()

    async def _send(self, request: Request, manners: ClientTimeout) -> ClientResponse:
        client = (await self._connection()).client
        try:
            response: ClientResponse = await client.call_api(
                request.path,
                request.method,
                query_params=list(request.query.items()),
                header_params={"Accept": JSON, "Content-Type": request.content},
                body=request.body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=manners,
            )
        except (ClientError, TimeoutError, *UNUSABLE) as error:
            raise self._away(error) from error
        return response

    async def _read(self, response: ClientResponse) -> bytes:
        try:
            return await response.read()
        except (ClientError, TimeoutError, OSError) as error:
            raise self._away(error) from error

    async def _pieces(self, response: ClientResponse) -> AsyncIterator[bytes]:
        try:
            async for piece in response.content.iter_any():
                yield piece
        except (ClientError, TimeoutError, OSError) as error:
            raise self._away(error) from error

    def _away(self, error: Exception) -> ClusterError:
        host = self._connected.client.configuration.host if self._connected else "the cluster"
        why = "no answer in time" if isinstance(error, TimeoutError) else _why(error)
        return ClusterError("cluster_unreachable", f"{host} can not be reached: {why}")

    async def _connection(self) -> Connected:
        async with self._connecting:
            if self._connected is None:
                self._connected = await connect(self._access)
            return self._connected


def _why(error: Exception) -> str:
    """What the operating system said, which is never a credential; else only what kind it was."""
    cause = getattr(error, "os_error", error)
    strerror = cause.strerror if isinstance(cause, OSError) else None
    return strerror or type(error).__name__


async def _lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in filter(None, lines):
            yield line
        if len(rest) > LINE_LIMIT:
            raise ClusterError("cluster_unreachable", "the cluster sent an endless line")


def _decoded(body: bytes, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.MsgspecError as error:
        raise ClusterError("cluster_unreachable", "what answers is no Kubernetes API") from error
