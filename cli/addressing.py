"""Which server to talk to, as whom, and in which namespace."""

from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import msgspec

from cli.config import Config, Context
from cli.failures import Misused
from cli.session import Options
from cli.settings import check_names, sendable
from schemas.names import is_namespace

DEFAULT_SERVER = "http://127.0.0.1:8080"


def resolve(options: Options, environ: Mapping[str, str], config: Callable[[], Config]) -> Context:
    """The context to use: a flag before a variable before the configuration file.

    A token of the file goes to its own server only: naming another server leaves it at home.
    Raises `Misused`.
    """
    check_names(environ)
    server = options.server or environ.get("MLLM_SERVER")
    token = options.token or environ.get("MLLM_TOKEN")
    namespace = options.namespace or environ.get("MLLM_NAMESPACE")
    name = options.context or environ.get("MLLM_CONTEXT")
    # The file is slow to read, and not asked when everything is said already.
    stored = Context(server) if server and token and not name else _stored(name, config())
    if server and address(server) != stored.server.rstrip("/"):
        stored = Context(server)
    return Context(
        address(server or stored.server),
        bearer(token or stored.token),
        tenant(namespace or stored.namespace),
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


def _stored(name: str | None, config: Config) -> Context:
    name = name or config.current_context
    if not name:
        return Context(DEFAULT_SERVER)
    if name not in config.contexts:
        known = ", ".join(config.contexts) or "none"
        raise Misused(f"there is no context {name!r}", f"use one of: {known}; or `mllm login`")
    stored = config.contexts[name]
    return msgspec.structs.replace(stored, server=address(stored.server))


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
