"""Having the catalog hold what files say: once, or whenever they change.

Models that came from a directory carry a label that names it, so that pruning takes nothing that
came from elsewhere.
"""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from cli.client import Gateway, segment
from cli.complaints import complain
from cli.exits import Exit
from cli.failures import Failure, Misused, OutOfReach
from cli.manifests import Read, documents, files_of, read_all, refuse_twice
from cli.session import Session
from cli.sources import SOURCE, labelled, source_of
from cli.tables import Column, View, printable
from schemas.api.models import Applied, Deleted, ModelDetail
from schemas.checks import Check
from schemas.manifest import LABEL_VALUE, Manifest
from schemas.manifest_reading import written
from schemas.message import Value

POLL_SECONDS = 0.5
AGAIN_SECONDS = 5.0
"""How long until what failed is tried again, though no file has changed."""


class Change(Value):
    """What came of a manifest that was applied, or of a model that is in no file any more."""

    model: str
    result: str
    sequence: int
    dry_run: bool = False
    checks: tuple[Check, ...] = ()


CHANGES: View[Change] = View(
    "model",
    lambda change: change.model,
    (
        Column("MODEL", lambda change: change.model),
        Column("RESULT", lambda change: change.result),
    ),
)


@dataclass(frozen=True)
class Wanted:
    """What is to be applied. `source` names the directory it is in; "" when it is in none."""

    place: str
    source: str
    prune: bool = False
    dry_run: bool = False


@dataclass
class Pass:
    """What came of going through the files once."""

    changes: list[Change] = field(default_factory=list[Change])
    failures: list[Failure] = field(default_factory=list[Failure])

    @property
    def exit(self) -> int:
        return int(self.failures[0].exit) if self.failures else Exit.OK


def wanted(place: str, source: str | None, *, prune: bool, dry_run: bool) -> Wanted:
    """Raises `Misused` when that can not be meant."""
    own = source_of(place)
    if prune and not own:
        raise Misused("only a directory can be pruned", "-f DIR --prune")
    if source is not None and not re.fullmatch(LABEL_VALUE, source):
        raise Misused(f"--source {source} can be no label", "use letters, digits, dots and dashes")
    return Wanted(place, source if source and own else own, prune, dry_run)


def read(wanted: Wanted) -> list[Read]:
    """The manifests, each of another model. Raises `Failure`, which tells all that is wrong.

    A directory may hold none yet, or none any more.
    """
    if wanted.source and not files_of(wanted.place):
        return []
    found = read_all(documents(wanted.place))
    refuse_twice(found)
    return found


def apply(gateway: Gateway, wanted: Wanted) -> Iterator[Change | Failure]:
    """Go through the files once, and tell what becomes of each model; a failure stops no other.

    Raises `Failure`, with nothing changed, when a file holds something else; `OutOfReach` later.
    """
    found = [manifest for _, manifest in read(wanted)]
    for manifest in found:
        try:
            yield _apply(gateway, wanted, manifest)
        except OutOfReach:
            raise
        except Failure as failure:
            yield about(manifest.id, failure)
    if wanted.prune:
        yield from _prune(gateway, wanted, {manifest.id for manifest in found})


def about(model: str, failure: Failure) -> Failure:
    """The same, said of one of several models."""
    return Failure(
        f"{model}: {failure.cause}",
        failure.remedy,
        exit=failure.exit,
        code=failure.code,
        request_id=failure.request_id,
        lines=failure.lines,
    )


def from_source(gateway: Gateway, manifest: Manifest, source: str) -> Manifest:
    """The manifest with the label that says where it comes from, whatever it was printed with; from
    no directory, with its own, or the one that its model has already."""
    if not source and SOURCE not in manifest.labels:
        registered = find(gateway, manifest.id)
        source = registered.labels.get(SOURCE, "") if registered else ""
    return labelled(manifest, source)


def find(gateway: Gateway, model: str) -> ModelDetail | None:
    """The model of this id; an alias does not count."""
    try:
        row = gateway.get(f"/models/{segment(model)}", ModelDetail)
    except Failure as failure:
        if failure.exit != Exit.NOT_FOUND:
            raise
        return None
    return row if row.name == model else None


def show(session: Session, said: Iterator[Change | Failure], *, quietly: bool = False) -> Pass:
    """Print changes as they happen, as lines, unless another form is asked for. `quietly`: not
    those that are none. The failures are the caller's to tell."""
    done = Pass()
    lines = session.options.output in ("table", "wide") and not session.options.quiet
    for one in said:
        if isinstance(one, Failure):
            done.failures.append(one)
            continue
        done.changes += [] if quietly and one.result == "unchanged" else [one]
        if lines and one in done.changes:
            print(printable(text(one)), flush=True)
            _tell_checks(session, one)
    if not lines and (done.changes or not quietly):
        session.printer.rows(done.changes, CHANGES)
    return done


def text(change: Change) -> str:
    """As kubectl says it: `model/llama created`."""
    return f"model/{change.model} {change.result}" + (" (dry run)" if change.dry_run else "")


def watch(session: Session, wanted: Wanted) -> None:
    """Apply, and again whenever a file changes, for ever; what fails is told, and tried again.

    A place that is gone is such a failure: nothing is pruned for it."""
    stamp: object = None
    told: set[str] = set()
    again = 0.0
    first = True
    while True:
        current = _stamp(wanted.place)
        if current != stamp or time.monotonic() >= again:
            told = set() if current != stamp else told
            failures = _pass(session, wanted, quietly=not first)
            for failure in failures:
                if failure.cause not in told:
                    complain(failure)
            told = {failure.cause for failure in failures}
            again = time.monotonic() + AGAIN_SECONDS if failures else inf
            if first:
                session.hint(f"watching {wanted.place}; Ctrl-C ends that")
            stamp, first = current, False
        time.sleep(POLL_SECONDS)


def _pass(session: Session, wanted: Wanted, *, quietly: bool) -> Sequence[Failure]:
    try:
        return show(session, apply(session.gateway, wanted), quietly=quietly).failures
    except Failure as failure:
        return [failure]


def _stamp(place: str) -> object:
    """What changes when a file does, and when nothing can be seen of them for a while."""
    try:
        return [stamp for file in files_of(place) for stamp in _stamp_of(file)]
    except Failure as failure:
        return failure.cause


def _stamp_of(file: Path) -> Iterator[tuple[str, int, int]]:
    try:
        found = file.stat()
    except OSError:  # gone since it was listed
        return
    yield str(file), found.st_mtime_ns, found.st_size


def _apply(gateway: Gateway, wanted: Wanted, manifest: Manifest) -> Change:
    said = from_source(gateway, manifest, wanted.source)
    path = f"/models/{segment(manifest.id)}"
    dry_run = True if wanted.dry_run else None
    applied = gateway.send("PUT", path, Applied, written(said), dryRun=dry_run)
    result = "created" if applied.created else "configured" if applied.changed else "unchanged"
    return Change(manifest.id, result, applied.sequence, wanted.dry_run, applied.checks)


def _prune(gateway: Gateway, wanted: Wanted, kept: set[str]) -> Iterator[Change | Failure]:
    label = f"{SOURCE}={wanted.source}"
    rows = gateway.rows("/models", ModelDetail, label=label).rows
    for row in rows:
        if row.name in kept:
            continue
        if wanted.dry_run:
            yield Change(row.name, "pruned", row.position, True)
            continue
        try:
            deleted = gateway.send("DELETE", f"/models/{segment(row.name)}", Deleted)
        except OutOfReach:
            raise
        except Failure as failure:
            if failure.exit != Exit.NOT_FOUND:
                yield about(row.name, failure)
        else:
            yield Change(row.name, "pruned", deleted.sequence)


def _tell_checks(session: Session, change: Change) -> None:
    """What stands in the way of serving it, beside the data."""
    if change.result == "unchanged":
        return
    for check in change.checks:
        if check.outcome != "pass":
            remedy = f" ({check.remedy})" if check.remedy else ""
            session.hint(printable(f"  {check.outcome} {check.name}: {check.reason}{remedy}"))
