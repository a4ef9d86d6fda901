"""What stands between a client and its API server: it cuts watches, has them expire, asks as
somebody else. Whatever else is asked is passed on as it is."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from aiohttp import ClientError, ClientTimeout, web
from yarl import URL

from processors.kserve.access import Access, Connected, connect
from tests.kube.answers import expired

HOP = {"host", "content-length", "transfer-encoding", "connection", "authorization"}


class Between:
    """`asking_as`: whom to impersonate. `expiring`: how many watches are told that their version
    is too old. `away`: nothing is passed on. `watches`: the versions that were gone on from."""

    def __init__(self, connected: Connected) -> None:
        self._connected = connected
        self._watching: set[asyncio.Transport] = set()
        self.asking_as = ""
        self.expiring = 0
        self.away = False
        self.watches: list[str] = []

    def cut(self) -> None:
        """Close every watch without a word."""
        for transport in self._watching:
            transport.abort()

    async def watched_more(self, than: int) -> bool:
        """Whether there have been more than so many watches."""
        return len(self.watches) > than

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch") == "true":
            self.watches.append(request.query["resourceVersion"])
            if self.expiring:
                self.expiring -= 1
                return _expired(int(request.query["resourceVersion"]))
        if self.away:
            raise web.HTTPBadGateway
        with suppress(ClientError, ConnectionError):
            return await self._pass(request)
        raise web.HTTPBadGateway

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        client = self._connected.client
        session = client.rest_client.pool_manager
        url = URL(f"{client.configuration.host}{request.raw_path}", encoded=True)
        body = await request.read()
        async with session.request(
            request.method,
            url,
            data=body or None,
            headers=await self._headers(request),
            timeout=ClientTimeout(total=None),
            server_hostname=client.rest_client.server_hostname,
        ) as answer:
            response = web.StreamResponse(status=answer.status)
            response.content_type = answer.content_type
            await response.prepare(request)
            with self._cuttable(request):
                async for piece in answer.content.iter_any():
                    await response.write(piece)
            return response

    async def _headers(self, request: web.Request) -> dict[str, str]:
        headers = {key: value for key, value in request.headers.items() if key.lower() not in HOP}
        configuration = self._connected.client.configuration
        if token := await configuration.get_api_key_with_prefix("BearerToken"):
            headers["Authorization"] = token
        if self.asking_as:
            headers["Impersonate-User"] = self.asking_as
        return headers

    def _cuttable(self, request: web.Request) -> "Cuttable":
        watch = request.query.get("watch") == "true"
        return Cuttable(self._watching, request.transport if watch else None)


class Cuttable:
    """While inside, the transport is among those that are cut."""

    def __init__(self, among: set[asyncio.Transport], transport: asyncio.Transport | None) -> None:
        self._among = among
        self._transport = transport

    def __enter__(self) -> None:
        if self._transport is not None:
            self._among.add(self._transport)

    def __exit__(self, *_: object) -> None:
        if self._transport is not None:
            self._among.discard(self._transport)


def _expired(asked: int) -> web.Response:
    """HTTP 200, and then an error as an event."""
    line = json.dumps({"type": "ERROR", "object": expired(asked, asked + 100)})
    return web.Response(text=f"{line}\n", content_type="application/json")


@asynccontextmanager
async def between(kubeconfig: str) -> AsyncGenerator[tuple[Between, str]]:
    """One in front of the cluster that `kubeconfig` names, and its address."""
    connected = await connect(Access(kubeconfig))
    proxy = Between(connected)
    app = web.Application(client_max_size=1 << 24)
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield proxy, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
        await connected.client.close()
