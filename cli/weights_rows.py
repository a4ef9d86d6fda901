"""How weights, plans and disks are shown."""

from collections.abc import Sequence
from typing import TypeVar

from cli.job_rows import since
from cli.quantities import size
from cli.tables import Column, Table, View, facts
from schemas.api.weights import StoreUsage, WeightsFileRow, WeightsInfo, WeightsRow, WeightsUsage
from schemas.plan import LeftOut, Plan, PlannedFile

R = TypeVar("R")

HASHED = "every file as it was installed, and not since"


def _verified(row: WeightsRow) -> str:
    return since(row.verified_at) if row.verified_at else "at install"


WEIGHTS: View[WeightsRow] = View(
    "weights",
    lambda row: row.name,
    (
        Column("NAME", lambda row: row.name),
        Column("STATUS", lambda row: row.status),
        Column("SIZE", lambda row: size(row.bytes)),
        Column("FILES", lambda row: str(row.files)),
        Column("REVISION", lambda row: row.revision or "-"),
        Column("AGE", lambda row: since(row.installed_at)),
        Column("MODEL", lambda row: row.model or "-", wide=True),
        Column("COMMIT", lambda row: row.commit[:12] or "-", wide=True),
        Column("LICENSE", lambda row: row.license or "-", wide=True),
        Column("STORE", lambda row: row.store, wide=True),
        Column("VERIFIED", _verified, wide=True),
        Column("IN USE BY", lambda row: ",".join(row.references) or "-", wide=True),
        Column("JOB", lambda row: row.job or "-", wide=True),
    ),
)
FILES: View[WeightsFileRow] = View(
    "file",
    lambda file: file.path,
    (
        Column("FILE", lambda file: file.path),
        Column("SIZE", lambda file: size(file.size)),
        Column("DIGEST", lambda file: f"{file.algorithm}:{file.digest}"),
    ),
)
PLANNED: View[PlannedFile] = View(
    "file",
    lambda file: file.path,
    (
        Column("FILE", lambda file: file.path),
        Column("SIZE", lambda file: size(file.size)),
    ),
)
LEFT_OUT: View[LeftOut] = View(
    "file",
    lambda file: file.path,
    (
        Column("LEFT OUT", lambda file: file.path),
        Column("WHY", lambda file: file.why),
    ),
)
STORES: View[StoreUsage] = View(
    "store",
    lambda row: row.store,
    (
        Column("STORE", lambda row: row.store),
        Column("WEIGHTS", lambda row: str(row.weights)),
        Column("INSTALLED", lambda row: size(row.installed)),
        Column("FREE", lambda row: _known(row.free)),
        Column("TOTAL", lambda row: _known(row.total)),
        Column("RESERVE", lambda row: _known(row.reserve)),
    ),
)
SIZES: View[WeightsRow] = View(
    "weights",
    lambda row: row.name,
    (
        Column("WEIGHTS", lambda row: row.name),
        Column("STORE", lambda row: row.store),
        Column("SIZE", lambda row: size(row.bytes)),
        Column("IN USE BY", lambda row: ",".join(row.references) or "-"),
    ),
)


def info_text(info: WeightsInfo) -> str:
    row = info.weights
    about = facts(
        [
            ("Name", row.name),
            ("Status", row.status),
            ("Corrupted", ", ".join(row.corrupted)),
            ("Namespace", row.namespace),
            ("Model", row.model),
            ("Revision", row.revision),
            ("Commit", row.commit),
            ("License", row.license),
            ("Size", f"{size(row.bytes)} in {row.files} files"),
            ("Store", row.store),
            ("Path", info.inference_model_path),
            ("Storage URI", info.storage_uri),
            ("Manifest", row.manifest),
            ("Installed", f"{since(row.installed_at)} ago by job {row.installed_by}"),
            ("Verified", f"{_verified(row)} ago" if row.verified_at else HASHED),
            ("In use by", ", ".join(row.references)),
            ("Job", row.job),
            ("Left out", ", ".join(row.left_out)),
        ]
    )
    return "\n\n".join([about, _lines(FILES, info.files)])


def plan_text(plan: Plan) -> str:
    about = facts(
        [
            ("Model", plan.repo),
            ("Revision", plan.revision),
            ("Commit", plan.commit),
            ("License", plan.license),
            ("Target", plan.target),
            ("Store", plan.store),
            ("To bring", f"{size(plan.bytes)} in {len(plan.files)} files"),
            ("Disk", _disk(plan)),
        ]
    )
    left_out = [_lines(LEFT_OUT, plan.left_out)] if plan.left_out else []
    return "\n\n".join([about, _lines(PLANNED, plan.files), *left_out])


def usage_text(usage: WeightsUsage) -> str:
    weights = [_lines(SIZES, usage.weights)] if usage.weights else []
    return "\n\n".join([_lines(STORES, usage.stores), *weights])


def _lines(view: View[R], rows: Sequence[R]) -> str:
    return "\n".join(Table(view).lines(rows))


def _disk(plan: Plan) -> str:
    if plan.disk is None:
        return "not known: no worker of the store has reported yet"
    disk = plan.disk
    return f"{size(disk.free)} free, {size(disk.after)} after it; {size(disk.reserve)} stay free"


def _known(count: int | None) -> str:
    return "-" if count is None else size(count)
