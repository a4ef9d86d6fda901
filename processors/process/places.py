"""Where the state of served models is on disk.

<data>/runtime/<namespace>/<slot>/events               what its supervision saw, one a line
<data>/runtime/<namespace>/<slot>/<activation>/lock    there while the instance is wanted
<data>/runtime/<namespace>/<slot>/<activation>/instance.json    who holds the lock
<data>/runtime/<namespace>/<slot>/<activation>/server.log       kept when the rest is removed
"""

import hashlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from processors.process.launch import LOCK, LOG, RECORD
from schemas.message import Rejected
from schemas.names import NAMESPACE, SLOT

ACTIVATION = r"[A-Za-z0-9][A-Za-z0-9_-]{5,63}"
POD = r"[a-z0-9][a-z0-9_-]{0,63}"
KEPT_LOGS = 10


class Place(msgspec.Struct, frozen=True):
    """The directory of one instance. `runtime` is that of all."""

    runtime: Path
    namespace: str
    slot: str
    activation: str

    @property
    def slot_folder(self) -> Path:
        return self.runtime / self.namespace / self.slot

    @property
    def folder(self) -> Path:
        return self.slot_folder / self.activation

    @property
    def lock(self) -> Path:
        return self.folder / LOCK

    @property
    def record(self) -> Path:
        return self.folder / RECORD

    @property
    def log(self) -> Path:
        return self.folder / LOG

    @property
    def events(self) -> Path:
        return self.slot_folder / "events"

    @property
    def pod(self) -> str:
        """What the process is called among pods."""
        return f"{self.slot}-{self.activation[-6:]}".lower()

    @property
    def marker(self) -> str:
        """What the processes of this instance, and of no other on the machine, carry."""
        owner = hashlib.sha256(str(self.runtime.resolve()).encode()).hexdigest()[:16]
        return f"{owner}/{self.namespace}/{self.slot}/{self.activation}"


def runtime(data_dir: Path) -> Path:
    return data_dir / "runtime"


def place(root: Path, namespace: str, slot: str, activation: str) -> Place:
    """The place of an instance. Raises `Rejected` for names that may not become a path."""
    shapes = ((NAMESPACE, namespace), (SLOT, slot), (ACTIVATION, activation))
    for shape, name in shapes:
        if re.fullmatch(shape, name) is None:
            raise Rejected("bad_instance", f"{name!r} can not be part of an instance's name")
    return Place(root, namespace, slot, activation)


def places(root: Path, namespace: str = "*", slot: str = "*") -> Iterator[Place]:
    """Every directory of an instance, wanted or past."""
    for folder in sorted(root.glob(f"{namespace}/{slot}/*/")):
        activation, in_slot, in_namespace = folder.name, folder.parent.name, folder.parents[1].name
        try:
            yield place(root, in_namespace, in_slot, activation)
        except Rejected:
            continue  # something else that somebody put there


def wanted(root: Path) -> list[Place]:
    return [place for place in places(root) if place.lock.exists()]


def prune(past: Place) -> None:
    """Keep the logs of only the last few instances of a slot that are no more."""
    others = places(past.runtime, past.namespace, past.slot)
    gone = [place for place in others if not place.lock.exists()]
    gone.sort(key=lambda place: _age(place.log), reverse=True)
    for place in gone[KEPT_LOGS:]:
        shutil.rmtree(place.folder, ignore_errors=True)


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
