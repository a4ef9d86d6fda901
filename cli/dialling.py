"""Connections to the gateway: plain, or TLS and then perhaps through a proxy."""

import base64
import http.client
import ipaddress
import os
from urllib.parse import SplitResult, unquote, urlsplit

CONNECT_SECONDS = 10.0


def dial(server: str, timeout: float) -> http.client.HTTPConnection:
    """A new connection. `timeout` (seconds) bounds each silence once connected.

    Raises `OSError` and `http.client.HTTPException`.
    """
    target = urlsplit(server)
    proxy = proxy_of(target)
    via = proxy or target
    secure = target.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    port = via.port or (443 if via.scheme == "https" else 80)
    connection = kind(via.hostname or "", port, timeout=CONNECT_SECONDS)
    if proxy is not None:
        connection.set_tunnel(target.hostname or "", target.port or 443, _credentials(proxy))
    connection.connect()
    connection.timeout = timeout  # for when it has to connect again
    connection.sock.settimeout(timeout)
    return connection


def proxy_of(target: SplitResult) -> SplitResult | None:
    """The proxy for `target`, from HTTPS_PROXY and NO_PROXY; never for plain HTTP or loopback."""
    address = os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY")
    if not address or target.scheme != "https" or is_loopback(target.hostname or ""):
        return None
    from urllib.request import proxy_bypass  # here, because it is slow to import

    if proxy_bypass(target.netloc):
        return None
    return urlsplit(address if "//" in address else f"//{address}")


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _credentials(proxy: SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
