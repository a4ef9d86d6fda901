"""What a browser is shown: the API's documentation, drawn from its description by one page."""

from pathlib import Path
from typing import Any, TypeAlias

from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from gateway.admission import AnyRequest, needs
from gateway.media_types import HTML
from gateway.problems import on_rejected
from schemas.message import Rejected

PAGE = Path(__file__).with_name("docs.html").read_text()
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline';"
    " connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
WELCOME = """<!doctype html><html lang="en"><meta charset="utf-8"><title>mllm</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem}
</style><h1>mllm</h1><p>The control plane for large-language-model weights and serving.</p>
<p><a href="/docs">API documentation</a> · <a href="/openapi.json">OpenAPI</a></p></html>
"""

Description: TypeAlias = NamedDependency[SkipValidation[dict[str, Any]]]


def page(text: str, status_code: int = 200) -> Response[str]:
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store"}
    return Response(text, status_code=status_code, headers=headers, media_type=HTML)


def ask_for_token(request: AnyRequest, error: Rejected) -> Response[Any]:
    """A browser can send no token with its first request: the page itself asks for one."""
    refusal = on_rejected(request, error)
    if refusal.status_code != 401 or HTML not in request.headers.get("Accept", ""):
        return refusal
    asking = page(PAGE, 401)
    asking.headers |= refusal.headers
    return asking


class Docs(Controller):
    tags = ("contract",)

    @get("/", media_type=HTML, include_in_schema=False)
    async def welcome(self) -> Response[str]:
        """Point to the documentation."""
        return page(WELCOME)

    @get(
        "/docs",
        media_type=HTML,
        opt=needs("read"),
        exception_handlers={Rejected: ask_for_token},
    )
    async def docs(self) -> Response[str]:
        """Show this documentation."""
        return page(PAGE)

    @get("/openapi.json", opt=needs("read"))
    async def openapi(self, description: Description) -> dict[str, Any]:
        """Describe the API (OpenAPI 3.1)."""
        return description
