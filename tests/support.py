"""What tests share besides fixtures."""

import asyncio
from collections.abc import Awaitable, Callable


async def eventually(holds: Callable[[], Awaitable[bool]], within: float = 5.0) -> None:
    """Wait until `holds`: what follows from the log follows a little later."""
    async with asyncio.timeout(within):
        while not await holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
