"""The manifest beside installed weights: what they are, and every file with its size and hash."""

import hashlib
from pathlib import Path

import msgspec

from processors.fetch.layout import manifest_path
from schemas.job import FinishedFile
from schemas.message import Value


class Manifest(Value):
    """`revision` is what was asked for, `commit` what it meant; `job` is who installed it."""

    repo: str
    commit: str
    revision: str
    job: str
    files: tuple[FinishedFile, ...]
    v: int = 1

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)


def encode(manifest: Manifest) -> bytes:
    """The stored form. Files are sorted, so the same content always has the same manifest."""
    files = tuple(sorted(manifest.files, key=lambda file: file.path))
    encoded = msgspec.json.encode(msgspec.structs.replace(manifest, files=files))
    return msgspec.json.format(encoded, indent=1) + b"\n"


def digest(raw: bytes) -> str:
    """The name of a manifest: the sha256 of its stored form."""
    return hashlib.sha256(raw).hexdigest()


def read(directory: Path) -> Manifest | None:
    """The manifest of the weights in `directory`; None if there is none, or none that is whole."""
    try:
        return msgspec.json.decode(manifest_path(directory).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError):
        return None


def digest_of(directory: Path) -> str | None:
    """The name of the manifest in `directory`; None if there is none."""
    try:
        return digest(manifest_path(directory).read_bytes())
    except OSError:
        return None
