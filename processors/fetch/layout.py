"""Where weights live on disk, and which names may be used there.

    <weights>/<namespace>/<target>/               installed weights, immutable
    <weights>/<namespace>/<target>/.mllm/         their manifest
    <weights>/.mllm/staging/<namespace>/<job>/<attempt>/files/     what an attempt has fetched
    <weights>/.mllm/staging/<namespace>/<job>/<attempt>/journal    which of it is really there
    <weights>/.mllm/trash/                        renamed aside, about to be unlinked

All of it is one file system, so that a rename is what installs, replaces and deletes. No
namespace and no segment of a target begins with a dot, so nothing collides with `.mllm`.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from processors.fetch.errors import UnsafePath
from schemas.message import Rejected
from schemas.names import NAMESPACE, TARGET, ULID

RESERVED = ".mllm"
TAKEN = ".taken"  # the directory of an attempt whose bytes are being copied away
LONGEST_SEGMENT = 255
LONGEST_PATH = 1024


class Layout(msgspec.Struct, frozen=True):
    """The paths below one weights directory. Every name is checked before it becomes a path."""

    weights: Path

    def target(self, namespace: str, target: str) -> Path:
        """Where the weights called `target` (`name` or `org/name`) are, or would be."""
        if re.fullmatch(TARGET, target) is None or ".." in target:
            raise Rejected("bad_target", f"{target!r} is not a target: name or org/name")
        return self.weights / _namespace(namespace) / target

    def job(self, namespace: str, job: str) -> Path:
        """What all attempts of one job have staged, one directory each, named by its number."""
        if re.fullmatch(ULID, job) is None:
            raise Rejected("bad_job", f"{job!r} is not a job's id")
        return self.staging / _namespace(namespace) / job

    def attempt(self, namespace: str, job: str, attempt: int) -> Path:
        return self.job(namespace, job) / str(attempt)

    def earlier(self, namespace: str, job: str, attempt: int) -> list[Path]:
        """The staging directories that attempts before `attempt` left, newest first."""
        try:
            left = list(self.job(namespace, job).iterdir())
        except FileNotFoundError:
            return []
        numbered = [
            (int(number), path)
            for path in left
            if (number := path.name.partition(".")[0]).isdecimal()
        ]
        return [path for number, path in sorted(numbered, reverse=True) if number < attempt]

    @property
    def staging(self) -> Path:
        """What has been staged: a directory for each job, in one for each namespace."""
        return self.weights / RESERVED / "staging"

    @property
    def trash(self) -> Path:
        return self.weights / RESERVED / "trash"


def manifest_path(directory: Path) -> Path:
    """Where the manifest of the weights in `directory` is. Having one makes them weights."""
    return directory / RESERVED / "manifest.json"


def content(staging: Path) -> Path:
    """The directory of an attempt that becomes the target."""
    return staging / "files"


def check_paths(paths: Iterable[str]) -> None:
    """Refuse, before anything touches the disk, names that are unsafe or exclude each other.

    Raises `UnsafePath`.
    """
    seen: set[str] = set()
    folders: set[str] = set()
    for path in paths:
        if why := _fault(path):
            raise UnsafePath(path, why)
        if path in seen:
            raise UnsafePath(path, "listed twice")
        seen.add(path)
        while "/" in path and (path := path.rpartition("/")[0]) not in folders:
            folders.add(path)
    for path in seen & folders:
        raise UnsafePath(path, "it is both a file and a folder")


def _fault(path: str) -> str:
    segments = path.split("/")
    if any(ord(character) < 32 or character in "\\\x7f" for character in path):
        return "it holds a control character or a backslash"
    if not path.isprintable() and any("\ud800" <= c <= "\udfff" for c in path):
        return "it is not Unicode"
    if any(segment in ("", ".", "..") for segment in segments):
        return "it is absolute, or a segment is empty or dots"
    if segments[0].casefold() == RESERVED:
        return f"{RESERVED} is reserved"
    if len(path.encode()) > LONGEST_PATH:
        return f"it is longer than {LONGEST_PATH} bytes"
    if any(len(segment.encode()) > LONGEST_SEGMENT for segment in segments):
        return f"a segment is longer than {LONGEST_SEGMENT} bytes"
    return ""


def _namespace(namespace: str) -> str:
    if re.fullmatch(NAMESPACE, namespace) is None:
        raise Rejected("bad_namespace", f"{namespace!r} is not a namespace")
    return namespace
