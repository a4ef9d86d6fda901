"""The socket that the gateway listens on: what its connections inherit decides what they cost."""

import socket

from gateway.settings import DEFAULTS

BACKLOG = 4096


def listen(host: str, port: int, patience: float = DEFAULTS.stuck_seconds) -> socket.socket:
    """A listening socket for uvicorn. Port 0 takes a free one. Raises `OSError`.

    A reader that takes nothing for `patience` seconds is dropped by the kernel, with all that still
    waits for it. Nagle's delay is off: an answer is two small writes.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            milliseconds = int(patience * 1000)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
