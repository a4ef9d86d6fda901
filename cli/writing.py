"""Writing a file that is read meanwhile, and that others are not to read."""

import os
from pathlib import Path


def write_private(path: Path, content: bytes, *, durable: bool) -> None:
    """Replace `path` at once, readable by its owner alone; `durable` survives a power cut too."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)  # one that a crash has left may be readable by others
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
