"""A supervisor to be killed: `python -m tests.processors.process.supervise ROOT ensure|remove`."""

import asyncio
import sys
from pathlib import Path

from tests.processors.process.rig import Machine, instance, present


async def supervise(root: Path, verb: str) -> None:
    here = Machine(root)
    print("begin", flush=True)
    while True:
        if verb == "ensure":
            await here.driver.ensure(instance())
        else:
            await here.driver.remove(present(instance()))
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(supervise(Path(sys.argv[1]), sys.argv[2]))
