"""Which server to talk to, as whom, and in which namespace."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from cli.config import Config, Context
from cli.failures import Misused
from cli.session import Options
from cli.settings import check_names, file_settings, sendable
from schemas.names import is_namespace

DEFAULT_SERVER = "http://127.0.0.1:8080"


def resolve(options: Options, environ: Mapping[str, str], config: Callable[[], Config]) -> Context:
    """The context to use: a flag before a variable before the configuration file, of which its
    settings go before its current context, but not before one that is named.

    A token of the file goes to its own server only: naming another server leaves it at home.
    Raises `Misused`.
    """
    check_names(environ)
    server = options.server or environ.get("MLLM_SERVER")
    token = options.token or environ.get("MLLM_TOKEN")
    namespace = options.namespace or environ.get("MLLM_NAMESPACE")
    name = options.context or environ.get("MLLM_CONTEXT")
    if server and token and namespace and not name:  # the file is slow to read
        return Context(address(server), bearer(token), tenant(namespace))
    file = config()
    settings: Mapping[str, Any] = {} if name else file_settings(file.settings)
    stored = _at(settings.get("server"), _stored(name or settings.get("context"), file))
    stored = replace(stored, token=settings.get("token") or stored.token)
    there = _at(server, stored)
    return Context(
        there.server,
        bearer(token or there.token),
        tenant(namespace or settings.get("namespace") or there.namespace),
    )


def address(text: str) -> str:
    """A server's address in its one form. Raises `Misused`."""
    text = text.strip().rstrip("/")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number
        usable = False
    if not usable or "@" in text or any(c.isspace() for c in text):
        raise Misused("the server's address is malformed", f"write it like {DEFAULT_SERVER}")
    return text


def _at(server: str | None, context: Context) -> Context:
    """The context at `server`: nothing is left of it where that is another one."""
    if not server or address(server) == context.server:
        return context
    return Context(address(server))


def _stored(name: str | None, config: Config) -> Context:
    name = name or config.current_context
    if not name:
        return Context(DEFAULT_SERVER)
    if name not in config.contexts:
        known = ", ".join(config.contexts) or "none"
        raise Misused(f"there is no context {name!r}", f"use one of: {known}; or `mllm login`")
    stored = config.contexts[name]
    return replace(stored, server=address(stored.server))


def bearer(token: str) -> str:
    """A token that can be sent. Raises `Misused`, without showing it."""
    token = token.strip()
    if not sendable(token):
        raise Misused("the token is malformed", "copy it again, without spaces or line breaks")
    return token


def tenant(namespace: str) -> str:
    """A namespace's name. Raises `Misused`."""
    if not is_namespace(namespace):
        raise Misused(
            f"{namespace!r} can not be a namespace", "use lower-case letters, digits and dashes"
        )
    return namespace
