"""What a URL of the Hub asks for."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias
from urllib.parse import unquote

Kind: TypeAlias = Literal[
    "info", "tree", "paths", "refs", "auth", "whoami", "resolve", "cache", "cdn",
    "xet", "cas", "xorb", "unknown",
]  # fmt: skip

REPO = r"(?P<repo>[^/]+(?:/[^/]+)?)"
REVISION = r"(?P<revision>[^/]+)"
SHAPES: dict[Kind, str] = {
    "whoami": "/api/whoami-v2",
    "cache": f"/api/resolve-cache/models/{REPO}/(?P<revision>[0-9a-f]{{40}})/(?P<path>.+)",
    "tree": f"/api/models/{REPO}/tree/{REVISION}(/(?P<path>.+))?",
    "paths": f"/api/models/{REPO}/paths-info/{REVISION}",
    "refs": f"/api/models/{REPO}/refs",
    "auth": f"/api/models/{REPO}/auth-check",
    "xet": f"/api/models/{REPO}/xet-read-token/{REVISION}",
    "info": f"/api/models/{REPO}(/revision/{REVISION})?",
    "cas": "/v1/reconstructions/(?P<path>[0-9a-f]{64})",
    "xorb": "/xorbs/(?P<path>[0-9a-f]{64})/.+",
    "cdn": f"/repos/{REPO}/(?P<path>[^/]+)/[0-9a-f]{{64}}",
    "resolve": f"/{REPO}/resolve/{REVISION}/(?P<path>.+)",
}
PATTERNS: list[tuple[Kind, re.Pattern[str]]] = [
    (kind, re.compile(shape)) for kind, shape in SHAPES.items()
]


@dataclass(frozen=True)
class Route:
    kind: Kind
    repo: str = ""
    revision: str = "main"
    path: str = ""  # of a file or folder in the repository


@lru_cache(maxsize=1 << 12)  # every layer of a hub asks about the same request
def route_of(path: str) -> Route:
    """Read a URL's path, still percent-encoded: revisions and file names may hold any character."""
    for kind, pattern in PATTERNS:
        if match := pattern.fullmatch(path):
            parts = {name: unquote(part) for name, part in match.groupdict().items() if part}
            revision = parts.get("revision", "main")
            return Route(kind, parts.get("repo", ""), revision, parts.get("path", ""))
    return Route("unknown")
