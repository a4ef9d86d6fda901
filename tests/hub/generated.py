"""Large files that cost little to make: written once per process, and sent from the page cache."""

import atexit
import hashlib
import random
import shutil
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from cli.loopback_hub.repository import Blob, lfs_blob

BLOCK = 1 << 20
STRIDE = 4099  # odd, and no divisor of BLOCK: the rotations of one block all differ


@lru_cache
def generated(size: int, seed: int = 0) -> Blob:
    """An LFS file of `size` bytes that look random, the same for the same seed.

    No two of its blocks are equal, so bytes that end up in the wrong place show in its hash.
    """
    path = _directory() / f"{size}-{seed}"
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for block in _blocks(size, seed):
            file.write(block)
            digest.update(block)
    return lfs_blob(path, size, digest.hexdigest())


def _blocks(size: int, seed: int) -> Iterator[bytes]:
    block = random.Random(seed).randbytes(min(size, BLOCK))
    for number, start in enumerate(range(0, size, BLOCK)):
        turn = number * STRIDE % BLOCK
        yield (block[turn:] + block[:turn])[: size - start]


@lru_cache
def _directory() -> Path:
    path = Path(tempfile.mkdtemp(prefix="mllm-generated-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path
