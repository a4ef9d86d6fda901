"""What every request passes before its route: who, which scope, which namespace, what it says.

A route names its scope in `opt`, through `needs`; one that does not is public, and `refuse_unnamed`
lets the application start only if it is meant to be.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

import msgspec
from litestar import Litestar, Request
from litestar.enums import ScopeType
from litestar.handlers import HTTPRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp, Receive, Send
from litestar.types import Scope as ASGIScope
from ulid import ULID

from gateway.auth import Access, Authenticator
from gateway.caller import Caller
from gateway.media_types import JSON
from schemas.message import Rejected
from schemas.names import ALL, SYSTEM, is_namespace
from schemas.strict_json import read_json
from schemas.token import Scope

PUBLIC = frozenset({"/", "/health", "/healthz", "/readyz"})
NAMESPACE_HEADER = "X-Mllm-Namespace"
JSON_TYPES = frozenset({"", JSON})

AnyRequest = Request[Any, Any, Any]


class QueryNames(NamedTuple):
    """What a route takes in its query: each name, which of them may come several times, and which
    may be any text."""

    known: frozenset[str]
    several: frozenset[str]
    texts: frozenset[str]


def needs(scope: Scope, *, lists: bool = False, system: bool = False) -> dict[str, Any]:
    """The `opt` of a route. `lists`: it may be about all namespaces at once; `system`: also about
    what belongs to no tenant."""
    return {"scope": scope, "lists": lists, "system": system}


def handlers(app: Litestar) -> Iterator[tuple[str, str, HTTPRouteHandler]]:
    """The path, method and handler of every route, without what the framework adds itself."""
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for method, (handler, _) in route.route_handler_map.items():
                if handler.include_in_schema is not False:
                    yield route.path_format, method, handler


def methods(app: Litestar) -> Mapping[str, set[str]]:
    """What each path takes, but for those that are passed on."""
    found: dict[str, set[str]] = {}
    for path, method, handler in handlers(app):
        if not handler.opt.get("passes_on"):
            found.setdefault(path, set()).add(method)
    return found


def refuse_unnamed(app: Litestar) -> None:
    """Raises `RuntimeError` when a route names no scope and is not on the list of public ones."""
    for path, method, handler in handlers(app):
        if "scope" not in handler.opt and path not in PUBLIC:
            raise RuntimeError(f"{method} {path} names no scope")


class Admission(ASGIMiddleware):
    """Lets a request through to its route with a `Caller`, or raises `Rejected`."""

    scopes = (ScopeType.HTTP,)

    def __init__(
        self, authenticator: Authenticator, queries: Mapping[tuple[str, str], QueryNames]
    ) -> None:
        self._authenticator = authenticator
        self._queries = queries

    async def handle(
        self, scope: ASGIScope, receive: Receive, send: Send, next_app: ASGIApp
    ) -> None:
        request: AnyRequest = Request(scope, receive, send)
        if scope["path_template"] not in PUBLIC:
            access = await self._authenticator.identify(bearer(request))
            if needed := request.route_handler.opt.get("scope"):
                _refuse_without(access, needed)
            state = scope["state"]
            state["caller"] = Caller(
                access,
                _namespace(request, access),
                str(ULID()),
                state["request_id"],
                state["traceparent"],
            )
        self._refuse_unknown_parameters(request)
        await _refuse_bad_body(request, request.route_handler)
        await next_app(scope, receive, send)

    def _refuse_unknown_parameters(self, request: AnyRequest) -> None:
        names = self._queries.get((request.scope["path_template"], request.method))
        if names is None or request.route_handler.opt.get("passes_on"):
            return  # whoever it is passed on to knows what it means
        given = request.query_params
        for name in given:
            if name not in names.known:
                raise _unknown(name, names.known)
            if name not in names.several and len(given.getall(name)) > 1:
                raise Rejected("invalid", f"{name} is given more than once")
            if name not in names.texts and "null" in given.getall(name):
                # what is left out is left out; Litestar would take the word for it, too
                raise Rejected("invalid", f"{name} can not be null")


def bearer(request: AnyRequest) -> str | None:
    """What follows `Authorization: Bearer`."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


def _refuse_without(access: Access, scope: Scope) -> None:
    if not access.has(scope):
        raise Rejected("forbidden_scope", f"this needs a token with the scope {scope}", scope=scope)


def _namespace(request: AnyRequest, access: Access) -> str:
    """Which namespace the request is about, if the token may enter it."""
    header = request.headers.get(NAMESPACE_HEADER) or "default"
    namespace = request.query_params.get("namespace", header)
    if not all(name == ALL or is_namespace(name) for name in (namespace, header)):
        raise Rejected("invalid", "that can not be the name of a namespace")
    opt = request.route_handler.opt
    if namespace == ALL and not opt.get("lists"):
        raise Rejected("invalid", "this is about one namespace; name it")
    if not access.enters(namespace) or (namespace == SYSTEM and not opt.get("system")):
        raise Rejected("forbidden_namespace", f"this token may not enter the namespace {namespace}")
    return namespace


def _unknown(name: str, known: frozenset[str]) -> Rejected:
    shown = name[:64]
    nearest = get_close_matches(shown, sorted(known), n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return Rejected("unknown_parameter", f"there is no parameter {shown!r} here{hint}")


def _told(error: msgspec.ValidationError) -> str:
    """What is wrong, behind the field's name, as with parameters. A pattern says nothing to most
    people, so it is left out."""
    what, _, path = str(error).partition(" - at `$")
    name = path.strip("`").removeprefix(".")
    what = "is malformed" if "matching regex" in what else what
    return f"{name}: {what}" if name else what


async def _refuse_bad_body(request: AnyRequest, handler: HTTPRouteHandler) -> None:
    """Litestar converts `"1"` to 1 and `"true"` to True in bodies, too: JSON has types, so no."""
    field = handler.parsed_fn_signature.parameters.get("data")
    if field is None:
        return
    body = await request.body()
    if not body and field.is_optional:
        return
    if request.content_type[0] not in JSON_TYPES:
        raise Rejected("unsupported_media_type", "the body has to be application/json")
    try:
        msgspec.json.decode(body, type=field.annotation)
    except msgspec.ValidationError as error:
        raise Rejected("invalid", "the body is not valid", errors=[_told(error)]) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected("invalid", "the body is not JSON") from error
    try:
        read_json(body)
    except (ValueError, RecursionError) as error:
        raise Rejected("invalid", "the body is not valid", errors=[str(error)]) from error
