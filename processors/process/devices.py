"""The cards of this machine, as their own tools tell; none where there are no tools."""

import asyncio
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

PATIENCE = 10.0
FRESH = 60.0
MIB = 1 << 20

NVIDIA = ("nvidia-smi", "--query-gpu=index,name,memory.total", "--format=csv,noheader,nounits")
AMD = ("rocm-smi", "--showproductname", "--showmeminfo", "vram", "--json")


class Card(NamedTuple):
    """`memory` is in bytes, 0 where it is not told."""

    id: str
    product: str
    memory: int


class Cards:
    """What there is, asked at most once a minute."""

    def __init__(self) -> None:
        self._asked = -FRESH
        self._known: Sequence[Card] = ()

    async def __call__(self) -> Sequence[Card]:
        if time.monotonic() - self._asked >= FRESH:
            self._known = await _ask(NVIDIA, nvidia) or await _ask(AMD, amd)
            self._asked = time.monotonic()
        return self._known


def pick(cards: Sequence[Card], taken: Iterable[str], wanted: int) -> tuple[str, ...]:
    """Cards for one more server: free ones if there are enough, none named if there are not."""
    said = os.environ.get("CUDA_VISIBLE_DEVICES") or os.environ.get("HIP_VISIBLE_DEVICES")
    usable = said.split(",") if said else [card.id for card in cards]
    busy = set(taken)
    free = [index for index in usable if index not in busy]
    return tuple(free[:wanted]) if 0 < wanted <= len(free) else ()


def nvidia(said: str) -> list[Card]:
    """Reads `0, NVIDIA A100, 81920`, one a line; raises `ValueError`."""
    rows = [[word.strip() for word in line.split(",")] for line in said.splitlines() if line]
    return [Card(row[0], row[1], int(row[2]) * MIB if row[2].isdecimal() else 0) for row in rows]


def amd(said: str) -> list[Card]:
    """Reads `{"card0": {…}}`; raises `ValueError`."""
    cards = msgspec.convert(json.loads(said), dict[str, dict[str, str]])
    return [
        Card(
            name.removeprefix("card"),
            about.get("Card Series") or about.get("Card series") or "",
            int(about.get("VRAM Total Memory (B)") or 0),
        )
        for name, about in sorted(cards.items())
        if name.startswith("card")
    ]


async def _ask(command: Sequence[str], parse: Callable[[str], list[Card]]) -> Sequence[Card]:
    program = shutil.which(command[0])
    if program is None:
        return ()
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            *command[1:],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return ()
    try:
        said, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        return parse(said.decode(errors="replace")) if process.returncode == 0 else ()
    except TimeoutError:
        process.kill()
        await process.wait()
        return ()
    except (ValueError, IndexError):
        return ()  # a tool that talks otherwise than it used to tells us nothing
