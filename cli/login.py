"""`mllm login`: remember a server, and who one is there."""

import getpass
import sys
from urllib.parse import urlsplit

from cli.addressing import DEFAULT_SERVER, address, bearer, tenant
from cli.client import Gateway
from cli.config import write_context
from cli.failures import Misused
from cli.session import Here, Session
from cli.wire import is_loopback
from schemas.api.system import SystemInfo


def login(*, session: Here) -> None:
    """Check a server and a token, and remember both as a context, which becomes the current one.

    Asks for what --server, --token, --namespace and --context do not say. The token can also come
    from stdin.
    """
    options, environ = session.options, session.environ
    server = address(options.server or environ.get("MLLM_SERVER") or _ask_server(session))
    token = bearer(options.token or environ.get("MLLM_TOKEN") or _ask_token(server))
    name = options.context or environ.get("MLLM_CONTEXT") or _name(server)
    before = session.config.contexts.get(name)
    namespace = options.namespace or environ.get("MLLM_NAMESPACE") or ""
    namespace = tenant(namespace or (before.namespace if before else "default"))

    info = Gateway(server, token, namespace).get("/system/info", SystemInfo)
    write_context(name, server, token, namespace, environ)
    session.hint(f"logged in to {server} as {info.actor}; context {name} is the current one")


def _ask_server(session: Session) -> str:
    if not session.interactive:
        return DEFAULT_SERVER
    print(f"Server [{DEFAULT_SERVER}]: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() or DEFAULT_SERVER


def _ask_token(server: str) -> str:
    """Typed without echo where somebody is there, else the first line of stdin."""
    if sys.stdin.isatty():
        token = getpass.getpass(f"Token for {server}: ", sys.stderr)
    else:
        token = sys.stdin.readline()
    if not token.strip():
        raise Misused("there is no token", "write it to stdin, or set MLLM_TOKEN")
    return token


def _name(server: str) -> str:
    host = urlsplit(server).hostname or server
    return "local" if is_loopback(host) else host
