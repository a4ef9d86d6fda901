"""What tests share besides fixtures."""

import asyncio
from collections.abc import Awaitable, Callable

# Seconds that a test waits for what must come. It bounds a failure, and never is what a test
# claims: a busy machine takes as long as it takes.
PATIENCE = 60.0


async def eventually(holds: Callable[[], Awaitable[bool]], within: float = PATIENCE) -> None:
    """Wait until `holds`: what follows from the log follows a little later."""
    async with asyncio.timeout(within):
        while not await holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
