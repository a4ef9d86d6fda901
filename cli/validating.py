"""Checking manifests: their fields by ourselves, and all else by a server, if one answers."""

from collections.abc import Sequence

from cli.client import Gateway
from cli.failures import OutOfReach
from cli.manifests import Document, errors_of
from cli.tables import Column, Table, View, coloured, printable
from schemas.api.models import ValidateBody, Validation
from schemas.checks import Capacity, Check, Outcome, unchecked
from schemas.manifest import Manifest
from schemas.manifest_reading import read_manifest, salvaged, written
from schemas.message import Rejected, Value

UNDERSTOOD = Check("schema", "pass", "every field of the manifest is understood")

CHECKS: View[Check] = View(
    "check",
    lambda check: check.name,
    (
        Column("CHECK", lambda check: check.name),
        Column("OUTCOME", lambda check: check.outcome),
        Column("REASON", lambda check: check.reason),
    ),
)


class Verdict(Value):
    """What was checked of one manifest. `offline`: its fields alone, for nobody was asked."""

    where: str
    model: str
    outcome: Outcome
    offline: bool
    checks: tuple[Check, ...]
    capacity: Capacity | None = None


VERDICTS: View[Verdict] = View(
    "manifest",
    lambda verdict: verdict.where,
    (
        Column("MANIFEST", lambda verdict: verdict.where),
        Column("MODEL", lambda verdict: verdict.model or "-"),
        Column("OUTCOME", lambda verdict: verdict.outcome),
    ),
)


class Examiner:
    """Checks one document after the other. Without a gateway, or once it does not answer, their
    fields only; `away` is why."""

    def __init__(self, gateway: Gateway | None, slot: str | None) -> None:
        self._gateway = gateway
        self._slot = slot
        self.away = ""

    def examine(self, document: Document) -> Verdict:
        """Raises `Failure` when the gateway refuses to check anything."""
        try:
            manifest = read_manifest(document.data)
        except Rejected as refused:
            return self._misread(document, errors_of(refused))
        model = manifest.id
        said = self._ask(manifest)
        if said is None:
            return Verdict(document.where, model, "pass", True, (UNDERSTOOD,))
        outcome = worst(said)
        return Verdict(document.where, model, outcome, False, said.checks, said.capacity)

    def _misread(self, document: Document, errors: Sequence[str]) -> Verdict:
        """What is wrong with its fields, and what else can be said of those that are not."""
        wrong = tuple(Check("schema", "fail", error) for error in errors)
        left = salvaged(document.data, errors)
        model = left.id if left else ""
        said = self._ask(left) if left else None
        if said is not None:
            also = tuple(check for check in said.checks if check.name != UNDERSTOOD.name)
            return Verdict(document.where, model, "fail", False, (*wrong, *also), said.capacity)
        also = () if self._gateway is None else unchecked()
        return Verdict(document.where, model, "fail", True, (*wrong, *also))

    def _ask(self, manifest: Manifest) -> Validation | None:
        if self._gateway is None:
            return None
        body = ValidateBody(written(manifest), self._slot)
        try:
            return self._gateway.send("POST", "/catalog/validate", Validation, body)
        except OutOfReach as error:
            self._gateway, self.away = None, error.cause
            return None


def worst(said: Validation) -> Outcome:
    if not said.valid:
        return "fail"
    return "warn" if any(check.outcome == "warn" for check in said.checks) else "pass"


def verdict_text(verdict: Verdict, *, colour: bool) -> str:
    """Every check, and below it what to do, where something is to be done."""
    name = f"{verdict.where} ({verdict.model})" if verdict.model else verdict.where
    outcome = coloured(verdict.outcome) if colour else verdict.outcome
    title, *rows = Table(CHECKS, colour=colour).lines(verdict.checks)
    lines = [f"{printable(name)}: {outcome}", f"  {title}"]
    for row, check in zip(rows, verdict.checks, strict=True):
        lines.append(f"  {row}")
        if check.remedy and check.outcome != "pass":
            lines.append(f"    remedy: {printable(check.remedy)}")
    if verdict.capacity is not None and verdict.capacity.wanted:
        lines.append(f"  {printable(_gpus(verdict.capacity))}")
    return "\n".join(lines)


def _gpus(capacity: Capacity) -> str:
    holders = ", ".join(f"{one.name} ({one.gpus})" for one in capacity.holders)
    free = f"{capacity.free} of {capacity.total} are free"
    return f"GPUs: {capacity.wanted} wanted, {free}" + (f"; held by {holders}" if holders else "")
