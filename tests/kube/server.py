"""A Kubernetes API server, as far as we talk to one: objects on real sockets, and no controller.

It answers as recorded from a real one: see `answers.py` for the words. It validates as much of
KServe's schema as `resources.py` knows, and knows one token and, by impersonation, users who may
do nothing.
"""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from ssl import SSLContext

from aiohttp import web

from tests.kube import answers
from tests.kube.plain import Json
from tests.kube.resources import NAMESPACES, SERVED, Resource
from tests.kube.selectors import Chosen, chosen
from tests.kube.storage import Change, Key, Storage

TOKEN = "a-good-token"
BOOKMARK_SECONDS = 0.3
NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
PATH = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/[a-z]))?"
    r"/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>status|log))?"
)
VERBS = {"GET": "get", "POST": "create", "PATCH": "patch", "DELETE": "delete"}
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


class Asked:
    """A request, taken apart."""

    def __init__(self, request: web.Request) -> None:
        found = PATH.fullmatch(request.path)
        resource = _served(found) if found else None
        if found is None or resource is None:
            raise answers.not_served()
        self.request = request
        self.resource = resource
        self.namespace: str = found["namespace"] or ""
        self.name: str = found["name"] or ""
        self.sub: str = found["sub"] or ""
        self.query = request.query
        self.watching = self.query.get("watch") == "true"

    @property
    def key(self) -> Key:
        return Key(self.resource, self.namespace, self.name)

    @property
    def verb(self) -> str:
        if self.request.method == "GET" and not self.name:
            return "watch" if self.watching else "list"
        return VERBS[self.request.method]

    @property
    def chosen(self) -> Chosen:
        wanted = chosen(self.query.get("labelSelector", ""), self.query.get("fieldSelector", ""))
        return lambda said: self._within(said) and wanted(said)

    def _within(self, said: Json) -> bool:
        return not self.namespace or said["metadata"].get("namespace") == self.namespace


class KubeServer:
    """`written`: what containers wrote, by pod and container; b"" is the end. `asked`: verbs and
    what of. `broken`: requests that are not served. `bookmarked`: how many bookmarks there were.
    """

    def __init__(self) -> None:
        self.storage = Storage()
        self._begun: dict[str, tuple[int, list[Json]]] = {}
        self._tokens = count()
        self.written: dict[tuple[str, str], list[bytes]] = {}
        self.asked: list[str] = []
        self.broken = 0
        self.bookmarked = 0

    def forget(self) -> None:
        """No version from before now can be gone on from, nor any list."""
        self.storage.forget()
        self._begun.clear()

    def put(self, resource: Resource, namespace: str, said: Json) -> Json:
        """Store an object as it is, without a request."""
        key = Key(resource, namespace, said["metadata"]["name"])
        made = self.storage.create(key, said, "test")
        patch = {"status": said["status"]} if "status" in said else None
        return self.storage.patch(key, patch, "test", status=True) if patch else made

    async def handle(self, request: web.Request) -> web.StreamResponse:
        try:
            asked = Asked(request)
            what = "/".join(filter(None, (asked.resource.plural, asked.sub)))
            self.asked.append(f"{asked.verb} {what}")
            self._admit(asked)
            return await self._answer(asked)
        except answers.Refused as refused:
            if refused.status is None:
                return web.Response(text="404 page not found\n", status=refused.code)
            return web.json_response(refused.status, status=refused.code)

    def _admit(self, asked: Asked) -> None:
        if self.broken:
            self.broken -= 1
            raise answers.refused(503, "the server is currently unable to handle the request")
        headers = asked.request.headers
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            raise answers.refused(401, "Unauthorized", "Unauthorized")
        if user := headers.get("Impersonate-User"):
            named = (asked.namespace, asked.name)
            raise answers.forbidden(asked.resource, user, asked.verb, named)

    async def _answer(self, asked: Asked) -> web.StreamResponse:
        if asked.sub == "log":
            return await self._log(asked)
        answer: Callable[[Asked], Awaitable[web.StreamResponse]] = {
            "watch": self._watch,
            "list": self._list,
            "get": self._get,
            "create": self._create,
            "patch": self._patch,
            "delete": self._delete,
        }[asked.verb]
        return await answer(asked)

    async def _get(self, asked: Asked) -> web.StreamResponse:
        return web.json_response(self.storage.get(asked.key))

    async def _list(self, asked: Asked) -> web.StreamResponse:
        token, _, begun = asked.query.get("continue", "").partition("-")
        if not token:
            token, chosen = str(next(self._tokens)), asked.chosen
            found = [said for said in self._sorted(asked) if chosen(said)]
            self._begun[token] = (self.storage.version, found)
        if token not in self._begun:
            raise answers.refused(410, "The provided continue parameter is too old", "Expired")
        version, found = self._begun[token]
        begin = int(begun or 0)
        end = begin + int(asked.query.get("limit") or len(found) or 1)
        meta: Json = {"resourceVersion": str(version)}
        if end < len(found):
            meta |= {"continue": f"{token}-{end}", "remainingItemCount": len(found) - end}
        kind, api = f"{asked.resource.kind}List", asked.resource.api_version
        body = {"kind": kind, "apiVersion": api, "metadata": meta, "items": found[begin:end]}
        if "continue" not in meta:
            del self._begun[token]
        return web.json_response(body)

    async def _create(self, asked: Asked) -> web.StreamResponse:
        said = await asked.request.json()
        asked.name = said["metadata"]["name"]
        self._check(asked)
        made = self.storage.create(asked.key, said, asked.query.get("fieldManager", "test"))
        return web.json_response(made, status=201)

    async def _patch(self, asked: Asked) -> web.StreamResponse:
        said = json.loads(await asked.request.text())
        kind = asked.request.content_type
        manager = asked.query.get("fieldManager", "")
        if kind == MERGE:
            status = asked.sub == "status"
            after = self.storage.patch(asked.key, said, manager or "test", status=status)
            return web.json_response(after)
        if kind != APPLY or not manager:
            raise answers.refused(400, "an apply patch needs its type and a field manager")
        self._check(asked)
        is_new = asked.key not in self.storage.objects
        after = self.storage.apply(
            asked.key,
            said,
            manager,
            force=asked.query.get("force") == "true",
            dry_run=asked.query.get("dryRun") == "All",
        )
        return web.json_response(after, status=201 if is_new else 200)

    async def _delete(self, asked: Asked) -> web.StreamResponse:
        options: Json = json.loads(await asked.request.text() or "{}")
        live = self.storage.delete(asked.key, options.get("preconditions") or {})
        if asked.key in self.storage.objects:
            return web.json_response(live)
        gone = answers.deleted(asked.resource, asked.name, live["metadata"]["uid"])
        return web.json_response(gone)

    async def _watch(self, asked: Asked) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(asked.request)
        after = int(asked.query.get("resourceVersion") or self.storage.version)
        if after < self.storage.oldest:
            gone = answers.expired(after, self.storage.oldest)
            await _say(response, "ERROR", gone)
            return response
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(float(asked.query.get("timeoutSeconds", 60))):
                await self._tell(asked, response, after)
        return response

    async def _tell(self, asked: Asked, response: web.StreamResponse, after: int) -> None:
        told = after
        while True:
            moved = self.storage.moved
            news = [change for change in self.storage.changes if change.version > told]
            told = self.storage.version
            for change in news:
                if change.key.resource == asked.resource:
                    await _tell(asked, response, change)
            try:
                await asyncio.wait_for(moved.wait(), BOOKMARK_SECONDS)
            except TimeoutError:
                await _say(response, "BOOKMARK", _bookmark(asked.resource, told))
                self.bookmarked += 1

    async def _log(self, asked: Asked) -> web.StreamResponse:
        containers = self.storage.get(asked.key).get("spec", {}).get("containers", ())
        container = asked.query.get("container", "")
        declared = container in [one["name"] for one in containers]
        begun: list[bytes] | None = [] if declared else None
        lines = self.written.get((asked.name, container), begun)
        if lines is None:
            message = f"container {container} is not valid for pod {asked.name}"
            raise answers.refused(400, message, "BadRequest")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(asked.request)
        said = lines[-int(asked.query["tailLines"]) :]
        while True:
            await response.write(b"".join(said))
            if asked.query.get("follow") != "true" or b"" in said:
                return response
            before = len(lines)
            while len(lines) == before:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            said = lines[before:]

    def _check(self, asked: Asked) -> None:
        if not NAME.fullmatch(asked.name):
            raise answers.bad_name(asked.resource, asked.name)
        home = Key(NAMESPACES, "", asked.namespace)
        if asked.resource.namespaced and home not in self.storage.objects:
            raise answers.not_found(NAMESPACES, asked.namespace)

    def _sorted(self, asked: Asked) -> list[Json]:
        objects = self.storage.objects.items()
        return [said for key, said in sorted(objects, key=_order) if key.resource == asked.resource]


def _order(entry: tuple[Key, Json]) -> tuple[str, str]:
    return entry[0].namespace, entry[0].name


def _served(found: re.Match[str]) -> Resource | None:
    wanted = (found["group"] or "", found["version"] or found["core"], found["plural"])
    return next((one for one in SERVED if one[:3] == wanted), None)


async def _tell(asked: Asked, response: web.StreamResponse, change: Change) -> None:
    """As seen through a selector: what it no longer selects is gone."""
    was = change.before is not None and asked.chosen(change.before)
    now = change.after is not None and asked.chosen(change.after)
    if now:
        assert change.after is not None
        await _say(response, "MODIFIED" if was else "ADDED", change.after)
    elif was:
        assert change.before is not None
        meta = {**change.before["metadata"], "resourceVersion": str(change.version)}
        await _say(response, "DELETED", {**change.before, "metadata": meta})


async def _say(response: web.StreamResponse, kind: str, said: Json) -> None:
    await response.write(json.dumps({"type": kind, "object": said}).encode() + b"\n")


def _bookmark(resource: Resource, version: int) -> Json:
    meta = {"resourceVersion": str(version), "creationTimestamp": None}
    said: Json = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta}
    return {**said, "spec": {"containers": None}, "status": None}


@asynccontextmanager
async def kube_server(tls: SSLContext | None = None) -> AsyncGenerator[tuple[KubeServer, str]]:
    """A server with a namespace `default`, and its address."""
    server = KubeServer()
    server.put(NAMESPACES, "", {"metadata": {"name": "default"}})
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield server, f"http{'s' if tls else ''}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
