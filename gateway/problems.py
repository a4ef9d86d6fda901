"""Errors as RFC 9457 problems: one table from codes to statuses, and nothing unexpected shown."""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.params import ParameterKwarg
from litestar.typing import FieldDefinition

from gateway.media_types import PROBLEM
from schemas.api.problem import Problem
from schemas.log import LogUnavailable
from schemas.message import Rejected

RETRY_SECONDS = 2
REGEX = "matching regex"
MISSING = re.compile(r"Missing required \w+ parameter '([^']*)'")

STATUS: Mapping[str, int] = {
    "invalid": 400,
    "invalid_cursor": 400,
    "unknown_parameter": 400,
    "token_expired": 401,
    "token_revoked": 401,
    "unauthenticated": 401,
    "forbidden_namespace": 403,
    "forbidden_scope": 403,
    "gated": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "busy": 409,
    "conflict": 409,
    "fenced": 409,
    "no_capacity": 409,
    "not_ready": 409,
    "nothing_to_roll_back": 409,
    "stopping": 409,
    "unclaimed": 409,
    "unreferenced_model": 409,
    "too_large": 413,
    "unsupported_media_type": 415,
    "engine_missing": 422,
    "idempotency_mismatch": 422,
    "invalid_engine_arguments": 422,
    "invalid_manifest": 422,
    "invalid_model": 422,
    "nothing_to_install": 422,
    "secret_not_found": 422,
    "sequence_beyond_log": 422,
    "unknown_engine": 422,
    "unknown_store": 422,
    "unsafe_path": 422,
    "unsupported_by_runtime": 422,
    "weights_ambiguous": 422,
    "weights_corrupted": 422,
    "weights_file_missing": 422,
    "weights_missing": 422,
    "weights_not_installed": 422,
    "weights_unfit": 422,
    "too_many_streams": 429,
    "internal": 500,
    "engine_failed": 502,
    "cluster_unreachable": 503,
    "forbidden_cluster": 503,
    "hub_unreachable": 503,
    "kserve_missing": 503,
    "log_unavailable": 503,
    "newer_log": 503,
    "not_serving": 503,
    "read_model_behind": 503,
    "read_models_unavailable": 503,
    "secrets_unavailable": 503,
    "no_space": 507,
}
"""What codes are answered with; any other with `OTHERWISE`."""

OTHERWISE = 422
"""A command that was understood and refused, for a reason that has no status of its own."""

CODES: Mapping[int, str] = {
    400: "invalid",
    401: "unauthenticated",
    403: "forbidden_scope",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
}
"""What the framework's own refusals are called."""

REMEDIES: Mapping[str, str] = {
    "unauthenticated": "send `Authorization: Bearer TOKEN`",
    "token_expired": "rotate the token, or have another issued",
    "token_revoked": "have another token issued",
    "read_models_unavailable": "try again; commands and the event stream still work",
    "log_unavailable": "try again in a moment",
    "read_model_behind": "try again in a moment",
    "too_many_streams": "close some, or use another token",
    "newer_log": "run the version that wrote it",
    "not_serving": "see `mllm runtime status`, or activate a model; try again when it is ready",
    "engine_failed": "see `mllm runtime logs` and `mllm runtime diagnose`",
}

Headers: TypeAlias = dict[str, str]
AnyRequest: TypeAlias = Request[Any, Any, Any]

logger = logging.getLogger(__name__)


def problem(code: str, detail: str, *, details: Mapping[str, object] = {}) -> Problem:
    """The problem that `code` names. A `remedy` among `details` overrules the usual one."""
    status = STATUS.get(code, OTHERWISE)
    facts = {key: value for key, value in details.items() if key not in ("remedy", "errors")}
    return Problem(
        type=f"urn:mllm:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=detail,
        remedy=str(details.get("remedy") or REMEDIES.get(code, "")),
        errors=msgspec.convert(details.get("errors", ()), tuple[str, ...]),
        details=facts,
    )


def headers_of(problem: Problem) -> Headers:
    """What the answer's headers say about it."""
    if problem.status == 401:
        error = "" if problem.code == "unauthenticated" else ', error="invalid_token"'
        return {"WWW-Authenticate": f'Bearer realm="mllm"{error}'}
    if problem.code == "forbidden_scope":
        return {"WWW-Authenticate": 'Bearer realm="mllm", error="insufficient_scope"'}
    if problem.status == 503:
        return {"Retry-After": str(RETRY_SECONDS)}
    return {}


def answer(
    request: AnyRequest, problem: Problem, headers: Headers | None = None
) -> Response[bytes]:
    request_id = str(request.scope.get("state", {}).get("request_id", ""))
    body = msgspec.json.encode(msgspec.structs.replace(problem, request_id=request_id))
    return Response(
        body,
        status_code=problem.status,
        headers=headers_of(problem) | (headers or {}),
        media_type=PROBLEM,
    )


def on_rejected(request: AnyRequest, error: Rejected) -> Response[bytes]:
    return answer(request, problem(error.code, str(error), details=error.details))


def on_log_unavailable(request: AnyRequest, error: LogUnavailable) -> Response[bytes]:
    logger.warning("the log is unavailable: %s", error)
    return answer(request, problem("log_unavailable", "the event log does not answer"))


def on_http(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    """What the framework refused: a route, a method, a parameter, a body."""
    if error.status_code >= 500:
        return on_unexpected(request, error)
    said = _said(error)
    if request.method != "PUT" and any(one.source == "path" for one in said):
        return answer(request, problem("not_found", "nothing here can be called that"))
    code = CODES.get(error.status_code, "invalid")
    details = {"errors": _errors(request, said)}
    headers = {k: v for k, v in (error.headers or {}).items() if k.lower() == "allow"}
    return answer(request, problem(code, _detail(code), details=details), headers)


def on_unexpected(request: AnyRequest, error: Exception) -> Response[bytes]:
    """Logged whole, shown not at all."""
    logger.error("a request failed unexpectedly", exc_info=error)
    return answer(request, problem("internal", "something went wrong here; it has been logged"))


def _detail(code: str) -> str:
    return {
        "invalid": "the request is not valid",
        "not_found": "there is no such route",
        "method_not_allowed": "this route does not take that method",
        "too_large": "the request's body is too large",
        "unsupported_media_type": "the request's body has to be application/json",
    }.get(code, HTTPStatus(STATUS[code]).phrase)


class _Said(msgspec.Struct):
    """What Litestar says of one bad parameter: it never shows the value. `key` is a name of ours,
    which may not be the one that the request has for it."""

    message: str = ""
    key: str = ""
    source: str = ""


def _said(error: HTTPException) -> list[_Said]:
    if missing := MISSING.match(error.detail):
        return [_Said("is missing", missing[1])]
    return msgspec.convert(error.extra if isinstance(error.extra, list) else [], list[_Said])


def _errors(request: AnyRequest, said: Iterable[_Said]) -> list[str]:
    """One line for each bad parameter."""
    if not said:
        return []
    ours = _parameters(request.route_handler)
    return [_error(one, ours.get(one.key)) for one in said]


def _error(one: _Said, parameter: FieldDefinition | None) -> str:
    defined = parameter.kwarg_definition if parameter else None
    if not isinstance(defined, ParameterKwarg):
        return f"{one.key}: {one.message}" if one.key else one.message
    name = defined.name or defined.query or defined.header or one.key
    if REGEX not in one.message:
        return f"{name}: {one.message}"
    return f"{name}: is malformed" + (f"; it is: {defined.description}" * bool(defined.description))


def _parameters(handler: HTTPRouteHandler) -> Mapping[str, FieldDefinition]:
    """What the route takes, and what the things that it is handed take."""
    takers = [one.parsed_fn_signature for one in handler.resolve_dependencies().values()]
    takers.append(handler.parsed_fn_signature)
    return {name: one for taker in takers for name, one in taker.parameters.items()}


HANDLERS: dict[int | type[Exception], Callable[[AnyRequest, Any], Response[bytes]]] = {
    Rejected: on_rejected,
    LogUnavailable: on_log_unavailable,
    HTTPException: on_http,
    Exception: on_unexpected,
}
