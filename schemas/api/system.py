"""What the gateway says about the system as a whole."""

from schemas.message import Value


class PartHealth(Value):
    name: str
    ok: bool
    detail: str = ""


class Readiness(Value):
    ok: bool
    parts: tuple[PartHealth, ...]


class ProjectionStatus(Value):
    """`lag` counts commits between a read model and the end of the log."""

    name: str
    position: int
    lag: int
    rebuilding: bool = False


class SystemInfo(Value):
    """`epoch` names the log: a position of another epoch means nothing here."""

    version: str
    epoch: str
    position: int
    runtime: str
    namespace: str
    actor: str
    scopes: tuple[str, ...]


class DayCount(Value):
    """How many events of one type a day (UTC, `YYYY-MM-DD`) saw."""

    day: str
    type: str
    count: int


class SystemSummary(Value):
    """Figures for a dashboard's front page."""

    jobs: dict[str, int]
    weights: int
    weights_bytes: int
    days: tuple[DayCount, ...]
    projections: tuple[ProjectionStatus, ...]
