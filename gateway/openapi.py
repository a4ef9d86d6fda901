"""The API's description, from the very types that requests and answers are checked against.

Litestar finds the routes and their parameters; what bodies look like, msgspec says, which decodes
them; and what holds for every route is added here.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
from litestar import Litestar, Response
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ASGIApp, ControllerRouterHandler
from litestar.types.composite_types import Dependencies
from litestar.utils import get_enum_string_value

from gateway.admission import NAMESPACE_HEADER, PUBLIC, QueryNames, handlers
from gateway.idempotency import HEADER, WRITES
from gateway.media_types import JSON, PROBLEM
from schemas.api.problem import Problem
from schemas.names import NAMESPACE

Document: TypeAlias = dict[str, Any]

COMPONENT = "#/components/schemas/{name}"
PROBLEM_ANSWER = {"$ref": "#/components/responses/Problem"}


def describe(
    routes: Sequence[ControllerRouterHandler], dependencies: Dependencies, version: str
) -> Document:
    """The OpenAPI 3.1 document of `routes`, by way of an application that never serves them."""
    app = Litestar(
        routes,
        dependencies=dependencies,
        openapi_config=OpenAPIConfig("mllm", version, use_handler_docstrings=True),
        logging_config=None,
    )
    document: Document = app.openapi_schema.to_schema()
    described = [
        (document["paths"][path][method.lower()], method, path, handler)
        for path, method, handler in handlers(app)
        if method.lower() in document["paths"].get(path, ())
    ]
    types = {spec for *_, handler in described for spec in _types(handler)} | {Problem}
    schemas, components = _schemas(types)
    for operation, method, path, handler in described:
        _describe(operation, method, path, handler, schemas)
    document["components"] = {
        "schemas": components,
        "responses": {"Problem": _content("An error (RFC 9457)", {PROBLEM: schemas[Problem]})},
        "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
    }
    return document


def queries(document: Document) -> Mapping[tuple[str, str], QueryNames]:
    """What each path and method takes in its query, as the document says."""
    found: dict[tuple[str, str], QueryNames] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            query = [p for p in operation.get("parameters", ()) if p["in"] == "query"]
            found[path, method.upper()] = QueryNames(
                known=frozenset(p["name"] for p in query),
                several=frozenset(p["name"] for p in query if p["schema"]["type"] == "array"),
                texts=frozenset(p["name"] for p in query if _is_text(p["schema"])),
            )
    return found


def _is_text(schema: Document) -> bool:
    return bool(schema["type"] == "string" and "enum" not in schema)


def _types(handler: HTTPRouteHandler) -> Iterable[Any]:
    data = handler.parsed_fn_signature.parameters.get("data")
    if data is not None:
        yield data.annotation
    if (answer := _answer(handler)) is not None:
        yield answer
    for spec in (handler.responses or {}).values():
        yield spec.data_container


def _answer(handler: HTTPRouteHandler) -> Any:
    """The type of a route's usual answer; None when it has no body, or says so elsewhere."""
    annotation = handler.parsed_fn_signature.return_type
    if annotation.is_subclass_of(Response):
        return annotation.inner_types[0].annotation if annotation.inner_types else None
    if annotation.annotation is ASGIApp or annotation.annotation is type(None):
        return None
    return annotation.annotation


def _schemas(types: Iterable[Any]) -> tuple[Mapping[Any, Document], Document]:
    ordered = sorted(types, key=str)
    schemas, components = msgspec.json.schema_components(ordered, ref_template=COMPONENT)
    return dict(zip(ordered, schemas, strict=True)), components


def _describe(
    operation: Document,
    method: str,
    path: str,
    handler: HTTPRouteHandler,
    schemas: Mapping[Any, Document],
) -> None:
    """Correct what Litestar guessed, and add what holds for every route."""
    parameters = [_plain(p) for p in operation.get("parameters", ())]
    if path not in PUBLIC:
        parameters += _common(method, handler.opt["lists"])
        operation["security"] = [{"bearer": []}]
        operation["x-scope"] = handler.opt["scope"]
    operation["parameters"] = parameters
    data = handler.parsed_fn_signature.parameters.get("data")
    if data is not None:
        operation["requestBody"] = {
            "content": {JSON: {"schema": schemas[data.annotation]}},
            "required": not data.is_optional,
        }
    operation["responses"] = _responses(handler, schemas)


def _responses(handler: HTTPRouteHandler, schemas: Mapping[Any, Document]) -> Document:
    answer = _answer(handler)
    content = (
        {}
        if answer is None
        else {get_enum_string_value(handler.media_type or JSON): schemas[answer]}
    )
    responses: Document = {str(handler.status_code): _content("Done", content)}
    for status, spec in (handler.responses or {}).items():
        responses[str(status)] = _content(spec.description, _media(spec, schemas))
    return responses | {"4XX": PROBLEM_ANSWER, "5XX": PROBLEM_ANSWER}


def _media(spec: ResponseSpec, schemas: Mapping[Any, Document]) -> Mapping[str, Document]:
    """A specification may name several media types, separated by commas."""
    return {
        kind: schemas[spec.data_container]
        for kind in get_enum_string_value(spec.media_type).split(", ")
    }


def _content(description: str, schemas: Mapping[str, Document]) -> Document:
    content = {kind: {"schema": schema} for kind, schema in schemas.items()}
    return {"description": description} | ({"content": content} if content else {})


def _plain(parameter: Document) -> Document:
    """A parameter that may be left out is not one that may be null: a query has no null."""
    schema = dict(parameter["schema"])
    choices = [one for one in schema.pop("oneOf", ()) if one.get("type") != "null"]
    for choice in choices:
        schema |= choice
    if isinstance(schema.get("type"), list):
        schema["type"] = next(kind for kind in schema["type"] if kind != "null")
    if "enum" in schema:
        schema["enum"] = [value for value in schema["enum"] if value is not None]
    kept = {"name", "in", "required", "description"}
    return {key: parameter[key] for key in parameter if key in kept} | {"schema": schema}


def _common(method: str, lists: bool) -> list[Document]:
    """The parameters of every route. Where `lists`, the namespace may be `*`."""
    name = NAMESPACE.strip("^$")
    choices = rf"(\*|{name})" if lists else name
    namespace = {"type": "string", "pattern": f"^{choices}$"}
    header = {"type": "string", "pattern": f"^({choices})?$"}
    common = [
        _parameter("namespace", "query", "The tenant, `default` unless said.", namespace),
        _parameter(NAMESPACE_HEADER, "header", "The same, when not in the query.", header),
    ]
    if method in WRITES:
        key = {"type": "string", "pattern": r"^[\x21-\x7e]{1,255}$"}
        common.append(_parameter(HEADER, "header", "Brings a first answer again.", key))
    return common


def _parameter(name: str, where: str, description: str, schema: Document) -> Document:
    return {
        "name": name,
        "in": where,
        "required": False,
        "description": description,
        "schema": schema,
    }
