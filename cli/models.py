"""`mllm models`: what may serve, as files say and as the catalog holds it."""

from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from cli import applying, validating
from cli.client import Gateway, Rows, segment
from cli.complaints import complain
from cli.confirming import confirm
from cli.exits import Exit
from cli.failures import Failure, Misused
from cli.listing import Listing, show
from cli.manifest_diff import compared
from cli.manifests import STDIN, documents, yaml_of
from cli.models_rows import MODELS, VERSIONS, Description, description_text
from cli.nearest import known_models
from cli.parameters import Everywhere, Model, Moment, Patience, SlotName, Yes
from cli.rollout import follow_through
from cli.session import Here, Watching
from schemas.api.models import (
    AliasSet,
    Deleted,
    GenerateBody,
    Generated,
    ModelDetail,
    ModelVersion,
)
from schemas.api.runtime import PromoteBody, RuntimeAccepted
from schemas.manifest_reading import manifest_schema, written
from schemas.runtime import DEFAULT_SLOT

SCHEMA_FILE = "model-manifest.schema.json"
CHANGES = (
    "model.registered",
    "model.updated",
    "model.deleted",
    "model.alias.set",
    "model.activation.phase",
    "model.activation.failed",
    "model.deactivation.completed",
    "weights.installed",
    "weights.deleted",
)
"""What changes rows of the list: manifests, aliases, who serves where, and by which engine."""

NOT_INSTALLED = frozenset({"weights_not_installed", "not_found"})

app = App(name="models", help="Register models, and see what may serve.")

File = Annotated[
    str,
    Parameter(
        name=["--filename", "-f"],
        allow_leading_hyphen=True,
        help="A file, a directory, or - for what comes in.",
    ),
]


@app.command(name="list")
def list_(
    *,
    label: str | None = None,
    runtime: str | None = None,
    target: str | None = None,
    limit: int = 0,
    as_of: Moment | None = None,
    all_namespaces: Everywhere = False,
    watch: Watching,
    session: Here,
) -> None:
    """List the models that are registered.

    Parameters
    ----------
    label
        Only models with this label: team, or team=search.
    runtime
        Only models for this engine: llamacpp, vllm, or another by its name.
    target
        Only models with these weights.
    limit
        At most this many; 0 for all.
    as_of
        As things stood at a time (2026-11-01T12:00Z) or at a position (seq:4711).
    """
    query = {"label": label, "runtime": runtime, "target": target, "as_of": as_of}

    def fetch(gateway: Gateway, newest: int | None) -> Rows[ModelDetail]:
        return gateway.rows("/models", ModelDetail, limit, min_sequence=newest, **query)

    listing = Listing(fetch, MODELS, lambda row: row.namespace, "model", types=CHANGES)
    show(session, listing, all_namespaces=all_namespaces, watch=watch)


@app.command
def get(model: Model, /, *models: Model, as_of: Moment | None = None, session: Here) -> None:
    """Print models; with -o yaml their manifests, which `apply` takes.

    Parameters
    ----------
    model
        A model's id, or an alias.
    as_of
        As things stood at a time (2026-11-01T12:00Z) or at a position (seq:4711).
    """
    rows = [fetch_model(session.gateway, name, as_of=as_of) for name in (model, *models)]
    if session.options.output == "yaml":
        print("---\n".join(yaml_of(row.manifest) for row in rows), end="")
    elif models:
        session.printer.rows(rows, MODELS)
    else:
        session.printer.row(rows[0], MODELS)


@app.command
def describe(model: Model, /, *, session: Here) -> None:
    """Tell all about a model: what it is, how it is served, and what became of it.

    Parameters
    ----------
    model
        A model's id, or an alias.
    """
    row = fetch_model(session.gateway, model)
    history = session.gateway.rows(f"/models/{segment(row.name)}/history", ModelVersion, 20).rows
    description = Description(row, tuple(history))
    text = description_text(description, colour=session.printer.colour)
    session.printer.value(description, text, f"model/{row.name}")


@app.command
def history(model: Model, /, *, limit: int = 0, session: Here) -> None:
    """List the versions of a model, the newest first. `get --as-of seq:VERSION` shows one.

    Parameters
    ----------
    model
        A model's id, or an alias.
    limit
        At most this many; 0 for all.
    """
    with known_models(session.gateway, model):
        found = session.gateway.rows(f"/models/{segment(model)}/history", ModelVersion, limit)
    session.printer.rows(found.rows, VERSIONS, f"nothing is known of {model}")


@app.command
def init(
    weights: str,
    /,
    *,
    id: str | None = None,
    revision: str | None = None,
    file: str = "",
    token_secret: str = "",
    session: Here,
) -> None:
    """Write a manifest for WEIGHTS on stdout, from what their own files say.

    Parameters
    ----------
    weights
        Installed weights by their name; or a repository of the Hub: org/name.
    id
        What the model is to be called.
    revision
        Branch, tag or commit of the repository; looks on the Hub even if it is installed.
    file
        Which of several GGUF files.
    token_secret
        Name of the secret that holds a token for the Hub (see `mllm secrets`).
    """
    asked: dict[str, str | None] = {"id": id, "file": file, "tokenSecret": token_secret}
    generated = _generated(session.gateway, weights, revision, asked)
    notes = "".join(f"# {' '.join(note.split())}\n" for note in generated.notes)
    head = f"# yaml-language-server: $schema=./{SCHEMA_FILE}\n"
    text = f"{head}{notes}{yaml_of(generated.manifest)}".rstrip("\n")
    session.printer.value(written(generated.manifest), text)
    session.hint(f"for editors: mllm models schema > {SCHEMA_FILE}")


@app.command
def schema(*, session: Here) -> None:
    """Print the JSON Schema of manifests, for editors. Needs no server."""
    found = manifest_schema()
    text = msgspec.json.format(msgspec.json.encode(found), indent=2).decode()
    session.printer.value(found, text)


@app.command
def validate(
    *places: Annotated[str, Parameter(name="FILE")],
    piped: Annotated[bool, Parameter(name=STDIN, show=False)] = False,
    place: File | None = None,
    slot: SlotName | None = None,
    offline: bool = False,
    session: Here,
) -> int:
    """Check manifests: what is wrong, what may be, and what to do about it.

    Every check is shown, whatever came of others. Without a server only the fields are checked.

    Parameters
    ----------
    places
        Files, directories of them, or - for what comes in.
    slot
        Check as if it were to serve in this slot, in the stead of who does.
    offline
        Ask no server: check the fields only.
    """
    named = (*places, *([STDIN] if piped else []), *([place] if place else []))
    if not named:
        raise Misused("no FILE is named", "name files or directories, or - for what comes in")
    found = [document for name in named for document in documents(name)]
    examiner = validating.Examiner(None if offline else session.gateway, slot)
    verdicts = [examiner.examine(document) for document in found]
    printer = session.printer
    if printer.structured or session.options.output == "name" or session.options.quiet:
        printer.rows(verdicts, validating.VERDICTS)
    else:
        texts = [validating.verdict_text(one, colour=printer.colour) for one in verdicts]
        print("\n\n".join(texts))
    if offline or examiner.away:
        why = f"{examiner.away}: " if examiner.away else ""
        session.hint(f"{why}only the fields were checked, against the schema")
    return Exit.FAILED if any(one.outcome == "fail" for one in verdicts) else Exit.OK


@app.command
def apply(
    *,
    place: File,
    prune: bool = False,
    source: str | None = None,
    dry_run: bool = False,
    watch: Watching,
    session: Here,
) -> int:
    """Have the catalog hold what files say. The same again changes nothing.

    Nothing is changed when any file holds something else than manifests of different models.
    With --watch, this stays and applies again whenever a file changes.

    Parameters
    ----------
    prune
        Delete the models that this directory brought before, and has no more. A directory that
        can not be read, or is gone, is not an empty one.
    source
        What the directory is called on the label mllm/source of its models. Unless said, that is
        made of a git checkout's remote and the place in it, the same wherever it is checked out;
        of any other directory's machine and path.
    dry_run
        Only say what would be changed.
    """
    wanted = applying.wanted(place, source, prune=prune, dry_run=dry_run)
    if watch:
        if place == STDIN:
            raise Misused("what comes in does not change", "leave out --watch")
        applying.watch(session, wanted)
    done = applying.show(session, applying.apply(session.gateway, wanted))
    for failure in done.failures:
        complain(failure)
    return done.exit


@app.command
def diff(*, place: File, source: str | None = None, session: Here) -> int:
    """Show where files differ from what is registered. Exits 0 if nowhere, 1 if somewhere.

    Parameters
    ----------
    source
        The label mllm/source of its models, when a directory is applied under another name.
    """
    try:
        wanted = applying.wanted(place, source, prune=False, dry_run=False)
        found = applying.read(wanted)
    except Failure as failure:  # 1 says that something differs
        failure.exit = Exit.USAGE
        raise
    answers = [compared(session, wanted, one) for one in found]
    if session.printer.structured:
        session.printer.value({"items": answers}, "")
    return Exit.OK if all(answer.same for answer in answers) else Exit.FAILED


@app.command
def delete(model: Model, /, *models: Model, yes: Yes = False, session: Here) -> int:
    """Take models out of the catalog. One that serves somewhere stays.

    Parameters
    ----------
    model
        A model's id.
    """
    names = (model, *models)
    where = f"in namespace {session.context.namespace}"
    confirm(session, f"delete {_listed(names)} {where}", yes)
    first = int(Exit.OK)
    for name in names:
        try:
            with known_models(session.gateway, name):
                deleted = session.gateway.send("DELETE", f"/models/{segment(name)}", Deleted)
        except Failure as failure:
            code = complain(applying.about(name, failure) if models else failure)
            first = first or code
        else:
            change = applying.Change(name, "deleted", deleted.sequence)
            applying.show(session, iter([change]))
    return first


@app.command
def promote(
    model: Model,
    /,
    *,
    slot: SlotName = DEFAULT_SLOT,
    current: str | None = None,
    patience: Patience = Patience(),  # noqa: B008  # frozen
    watch: Watching,
    session: Here,
) -> int:
    """Let MODEL, which waits in a slot as its candidate, serve there.

    Parameters
    ----------
    model
        The candidate: a model's id.
    slot
        Which slot.
    current
        Only if this model serves there now.
    """
    body = PromoteBody(model, current, slot)
    accepted = session.gateway.send("POST", "/runtime/promote", RuntimeAccepted, body)
    return follow_through(session, accepted, patience, watch)


@app.command
def alias(
    model: Model,
    alias: str,
    /,
    *,
    delete: bool = False,
    session: Here,
) -> None:
    """Let ALIAS mean MODEL from now on, whatever it meant before.

    Parameters
    ----------
    model
        A model's id.
    alias
        Its other name.
    delete
        Let it mean nothing instead.
    """
    method, path = "DELETE" if delete else "PUT", f"/models/{segment(model)}/aliases"
    with known_models(session.gateway, model):
        said = session.gateway.send(method, f"{path}/{segment(alias)}", AliasSet)
    text = f"{said.alias} means {said.model}" if said.model else f"{said.alias} means nothing now"
    session.printer.value(said, text)


def fetch_model(
    gateway: Gateway, model: str, *, as_of: str | None = None, min_sequence: int | None = None
) -> ModelDetail:
    """A model by its id, or by an alias."""
    path = f"/models/{segment(model)}"
    with known_models(gateway, model):
        return gateway.get(path, ModelDetail, as_of=as_of, min_sequence=min_sequence)


def _generated(
    gateway: Gateway, weights: str, revision: str | None, asked: dict[str, str | None]
) -> Generated:
    """For installed weights, if there are any of this name, else for a repository."""
    if revision is None:
        try:
            return _generate(gateway, {**asked, "target": weights})
        except Failure as failure:
            if failure.code not in NOT_INSTALLED or "/" not in weights:
                raise
    return _generate(gateway, {**asked, "hfModelId": weights, "revision": revision or "main"})


def _generate(gateway: Gateway, asked: dict[str, str | None]) -> Generated:
    try:
        body = msgspec.convert(asked, GenerateBody)
    except msgspec.ValidationError as error:
        raise Misused("WEIGHTS or an option is malformed", "names are like org/name") from error
    return gateway.send("POST", "/catalog/generate", Generated, body)


def _listed(names: tuple[str, ...]) -> str:
    return "the model " + names[0] if len(names) == 1 else f"the models {', '.join(names)}"
