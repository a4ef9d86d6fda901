"""Asking a server over HTTP whether it serves."""

import asyncio
from typing import Literal, TypeAlias

Answer: TypeAlias = Literal["silent", "loading", "ready", "wrong"]
"""`silent`: nobody listens, or nobody answers. `loading`: it says 503. `wrong`: anything else."""

LONGEST = 4096


async def ask(host: str, port: int, path: str, patience: float) -> Answer:
    """What `GET path` is answered within `patience` seconds."""
    try:
        async with asyncio.timeout(patience):
            status = await _status(host, port, path)
    except (OSError, TimeoutError, ValueError, EOFError):
        return "silent"
    if 200 <= status < 300:
        return "ready"
    return "loading" if status == 503 else "wrong"


async def _status(host: str, port: int, path: str) -> int:
    reader, writer = await asyncio.open_connection(host, port, limit=LONGEST)
    try:
        request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        await writer.drain()
        version, _, rest = (await reader.readline()).partition(b" ")
        if not version.startswith(b"HTTP/1."):
            raise ValueError("not HTTP")
        return int(rest[:3])
    finally:
        # Not waited for: the other side may never say that it has closed, too.
        writer.transport.abort()
