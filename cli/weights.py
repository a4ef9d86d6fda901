"""`mllm weights`: bring weights from the Hub, see what is there, check it, remove it."""

import re
from dataclasses import dataclass

import msgspec
from cyclopts import App, Parameter

from cli.client import Gateway, Rows
from cli.confirming import confirm
from cli.failures import Misused
from cli.job_rows import follow_through
from cli.listing import Listing, show
from cli.parameters import PRIORITIES, Everywhere, Importance, Moment, Patience, Weights, Yes
from cli.session import Here, Watching
from cli.weights_rows import WEIGHTS, info_text, plan_text, usage_text
from schemas.api.events import CloudEvent
from schemas.api.jobs import InstallAccepted, JobAccepted
from schemas.api.weights import (
    InstallBody,
    NameBody,
    WeightsInfo,
    WeightsRow,
    WeightsStatus,
    WeightsUsage,
)
from schemas.names import ALL
from schemas.plan import Plan

SHAPES = {
    "hfModelId": "a repository is called org/name",
    "target": "call it name or org/name",
    "revision": "name a branch, a tag or a commit",
    "include": "write a pattern like *.safetensors",
    "exclude": "write a pattern like *.safetensors",
    "tokenSecret": "see `mllm secrets list`",
    "store": "use lower-case letters, digits and dashes",
}
"""What the fields of a request that may be malformed look like."""

app = App(name="weights", help="Install, verify and delete weights.")


@Parameter(name="*")
@dataclass(frozen=True)
class Choice:
    """What to bring, and where to."""

    revision: str = "main"
    """Branch, tag or commit."""

    target: str | None = None
    """Where to put it: name or org/name. The repository's name unless given."""

    include: tuple[str, ...] = ()
    """Only files that match, as in *.safetensors; may be given several times."""

    exclude: tuple[str, ...] = ()
    """No files that match; may be given several times."""

    overwrite: bool = False
    """Replace what the target holds, once the new files are all there."""

    priority: Importance = "normal"
    """Which jobs go first."""

    token_secret: str | None = None
    """Name of the secret that holds a token for the Hub (see `mllm secrets`)."""

    store: str | None = None
    """Which weights volume to install on."""

    def body(self, model: str) -> InstallBody:
        """The request. Raises `Misused` when a name in it can not be one."""
        body = InstallBody(
            hf_model_id=model,
            revision=self.revision,
            target=self.target,
            include=self.include,
            exclude=self.exclude,
            overwrite=self.overwrite,
            priority=PRIORITIES[self.priority],
            token_secret=self.token_secret,
            store=self.store,
        )
        try:
            return msgspec.convert(msgspec.to_builtins(body), InstallBody)
        except msgspec.ValidationError as error:
            raise _malformed(error) from error


@app.command
def install(
    model: str,
    /,
    *,
    choice: Choice = Choice(),
    dry_run: bool = False,
    patience: Patience = Patience(),  # noqa: B008  # frozen
    watch: Watching,
    session: Here,
) -> int:
    """Install the weights of MODEL, as a job.

    Parameters
    ----------
    model
        A repository of the Hub: org/name.
    dry_run
        Only say what would be brought, like `mllm weights plan`.
    """
    if dry_run:
        plan(model, choice=choice, session=session)
        return 0
    body = choice.body(model)
    accepted = session.gateway.send("POST", "/weights/install", InstallAccepted, body)
    if accepted.job.status == "completed":
        session.hint(f"{accepted.target} holds this content already")
    return follow_through(session, accepted.job, patience, watch)


@app.command
def plan(
    model: str,
    /,
    *,
    choice: Choice = Choice(),
    session: Here,
) -> None:
    """Say what installing MODEL would bring: files, bytes, and the disk after it.

    Parameters
    ----------
    model
        A repository of the Hub: org/name.
    """
    found = session.gateway.send("POST", "/weights/plan", Plan, choice.body(model))
    session.printer.value(found, plan_text(found), f"weights/{found.target}")


@app.command(name="list")
def list_(
    *,
    status: WeightsStatus | None = None,
    model: str | None = None,
    store: str | None = None,
    limit: int = 0,
    as_of: Moment | None = None,
    all_namespaces: Everywhere = False,
    watch: Watching,
    session: Here,
) -> None:
    """List the weights that are installed.

    Parameters
    ----------
    status
        Only weights in this status.
    model
        Only weights of this model of the Hub.
    store
        Only weights on this volume.
    limit
        At most this many; 0 for all.
    as_of
        As things stood at a time (2026-11-01T12:00Z) or at a position (seq:4711).
    """

    exact = {"status": status, "model": model, "store": store}
    query = {"as_of": as_of, **exact}

    def fetch(gateway: Gateway, newest: int | None) -> Rows[WeightsRow]:
        return gateway.rows("/weights", WeightsRow, limit, min_sequence=newest, **query)

    def changed(gateway: Gateway, event: CloudEvent) -> WeightsRow | None:
        name = msgspec.json.decode(event.data, type=_Named).target
        row = fetch_info(gateway, name, min_sequence=event.sequence).weights
        fits = all(getattr(row, name) == value for name, value in exact.items() if value)
        return row if fits else None

    listing = Listing(fetch, WEIGHTS, lambda row: row.namespace, "weights", changed)
    show(session, listing, all_namespaces=all_namespaces, watch=watch)


@app.command
def info(name: Weights, /, *, as_of: Moment | None = None, session: Here) -> None:
    """Tell all about installed weights: where from, which files, how they are.

    Parameters
    ----------
    name
        The target: name or org/name.
    as_of
        As things stood at a time (2026-11-01T12:00Z) or at a position (seq:4711).
    """
    found = fetch_info(session.gateway, name, as_of=as_of)
    session.printer.value(found, info_text(found), f"weights/{found.weights.name}")


@app.command
def verify(
    name: Weights,
    /,
    *,
    patience: Patience = Patience(),  # noqa: B008  # frozen
    watch: Watching,
    session: Here,
) -> int:
    """Hash every file of installed weights again and compare, as a job.

    Parameters
    ----------
    name
        The target: name or org/name.
    """
    accepted = session.gateway.send("POST", "/weights/verify", JobAccepted, NameBody(name))
    return follow_through(session, accepted.job, patience, watch)


@app.command
def delete(
    name: Weights,
    /,
    *,
    yes: Yes = False,
    patience: Patience = Patience(),  # noqa: B008  # frozen
    watch: Watching,
    session: Here,
) -> int:
    """Remove installed weights from the disk, as a job.

    Parameters
    ----------
    name
        The target: name or org/name.
    """
    confirm(session, f"delete the weights {name} in namespace {session.context.namespace}", yes)
    accepted = session.gateway.send("DELETE", "/weights", JobAccepted, name=name)
    return follow_through(session, accepted.job, patience, watch)


@app.command
def usage(*, all_namespaces: Everywhere = False, session: Here) -> None:
    """Show how much room weights take, and how much is left."""
    gateway = session.gateway.within(ALL) if all_namespaces else session.gateway
    found = gateway.get("/weights/usage", WeightsUsage)
    stores = (f"store/{row.store}" for row in found.stores)
    session.printer.value(found, usage_text(found), *stores)


class _Named(msgspec.Struct):
    """What every event about weights says."""

    target: str


def fetch_info(
    gateway: Gateway, name: str, *, as_of: str | None = None, min_sequence: int | None = None
) -> WeightsInfo:
    path = "/weights/info"
    return gateway.get(path, WeightsInfo, name=name, as_of=as_of, min_sequence=min_sequence)


def _malformed(error: msgspec.ValidationError) -> Misused:
    """msgspec says which field is at fault, and shows a pattern nobody wants to read."""
    where = str(error).rpartition("$.")[2].rstrip("`")
    field = where.partition("[")[0]
    option = "--" + re.sub("([A-Z])", r"-\1", field).lower()
    name = "MODEL" if field == "hfModelId" else option
    return Misused(f"{name} is malformed", SHAPES[field])
