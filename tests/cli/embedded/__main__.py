"""A stack without roles, in a process of its own that a test can kill.

`python -m tests.cli.embedded DATA_DIR` says each part that is ready, then `up`, and stops on
SIGTERM; what it cannot do it says in one line.
"""

import asyncio
import signal
import sys
from pathlib import Path

from cli.embedded.datadir import StackError
from cli.embedded.stack import Plan, open_stack


async def stand(root: Path) -> None:
    async with open_stack(root, Plan(on_ready=lambda part, _: print(part, flush=True))) as stack:
        running = asyncio.ensure_future(stack.run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        print("up", flush=True)
        await asyncio.wait([running])


if __name__ == "__main__":
    try:
        asyncio.run(stand(Path(sys.argv[1])))
    except StackError as error:
        sys.exit(f"{error.message}; {error.remedy}")
