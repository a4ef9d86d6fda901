"""Reading a query, and handing out a long list page by page with links to the next."""

from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import urlencode

from cli.loopback_hub.message import Request

T = TypeVar("T")


def flag(request: Request, name: str) -> bool:
    return request.query.get(name, ["false"])[0].lower() in {"true", "1"}


def page_of(items: Sequence[T], request: Request, most: int) -> tuple[Sequence[T], dict[str, str]]:
    """The page that `cursor` and `limit` ask for, and the header that leads to the next one."""
    start = _number(request, "cursor", 0)
    stop = start + min(most, _number(request, "limit", most))
    if stop >= len(items):
        return items[start:], {}
    query = {name: values[0] for name, values in request.query.items()} | {"cursor": str(stop)}
    address = f"http://{request.headers['host']}{request.path}?{urlencode(query)}"
    return items[start:stop], {"Link": f'<{address}>; rel="next"'}


def _number(request: Request, name: str, otherwise: int) -> int:
    text = request.query.get(name, [""])[0]
    return int(text) if text.isdecimal() else otherwise
