"""Files that are there whole or not at all."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex


@contextmanager
def drafted(path: Path, content: bytes, *, mode: int = 0o600) -> Generator[Path]:
    """A draft beside `path` that survives a crash of the machine, to be renamed or linked to it; it
    goes if it was not. Raises `OSError`."""
    draft = path.with_name(f".{token_hex(8)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)
