"""`mllm projections`: the read models, and how far behind the log they are."""

from cyclopts import App

from cli.client import segment
from cli.parameters import ReadModel
from cli.session import Here
from cli.tables import Column, View
from schemas.api.problem import Page
from schemas.api.system import ProjectionStatus

app = App(name="projections", help="See and rebuild the read models.")

PROJECTIONS: View[ProjectionStatus] = View(
    "projection",
    lambda row: row.name,
    (
        Column("NAME", lambda row: row.name),
        Column("STATUS", lambda row: "rebuilding" if row.rebuilding else "ok"),
        Column("POSITION", lambda row: str(row.position)),
        Column("BEHIND", lambda row: str(row.lag)),
    ),
)


@app.command
def status(*, session: Here) -> None:
    """Show how far each read model has come."""
    found = session.gateway.get("/projections", Page[ProjectionStatus])
    session.printer.rows(found.items, PROJECTIONS)


@app.command
def rebuild(name: ReadModel, /, *, session: Here) -> None:
    """Fold a read model again from the whole log, beside the live one, and swap them at the end.

    Parameters
    ----------
    name
        The read model, as `mllm projections status` calls it.
    """
    path = f"/projections/{segment(name)}/rebuild"
    session.printer.row(session.gateway.send("POST", path, ProjectionStatus), PROJECTIONS)
