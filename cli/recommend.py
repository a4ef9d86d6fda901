"""`mllm recommend`: which cards there are, what fits on them, and how to tell an engine so."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from cli.client import Gateway, segment
from cli.exits import Exit
from cli.failures import Failure, Misused
from cli.parameters import Card
from cli.recommend_rows import COMPARED, PROFILES, compatibility_text, recommendation_text
from cli.session import Here, Session
from schemas.advice import Compatibility, GpuProfile, Recommendation
from schemas.api.advice import ModelAdvice, ModelInfoBody, SupportedModels
from schemas.api.models import ModelDetail
from schemas.api.problem import Page
from schemas.api.weights import WeightsInfo
from schemas.manifest import Dtype, KvCacheDtype

app = App(name="recommend", help="See which cards a model fits on, and how to serve it there.")


@Parameter(name="*")
@dataclass(frozen=True)
class Asked:
    """How the model is to be served."""

    gpus: int | None = None
    """So many cards. As few as will do, unless given."""

    context_length: int | None = None
    """Tokens of a sequence."""

    batch: int = 1
    """Sequences under way at once."""

    dtype: Dtype = "auto"
    """What to compute in."""

    kv_cache_dtype: KvCacheDtype = "auto"
    """What to keep keys and values in."""

    def query(self) -> dict[str, str | int | None]:
        """What is not as usual, as the server's routes call it."""
        return {
            "gpus": self.gpus,
            "context": self.context_length,
            "batch": self.batch if self.batch != 1 else None,
            "dtype": self.dtype if self.dtype != "auto" else None,
            "kvCacheDtype": self.kv_cache_dtype if self.kv_cache_dtype != "auto" else None,
        }


@dataclass(frozen=True)
class Repository:
    """A repository of the Hub. All but its name is empty unless given."""

    name: str
    revision: str = ""
    secret: str = ""
    file: str = ""


@app.command
def profiles(*, session: Here) -> None:
    """List the kinds of cards that are known, those of our own machines first."""
    session.printer.rows(_profiles(session.gateway), PROFILES)


@app.command
def gpu(type: Card, /, *, session: Here) -> None:
    """Tell what a kind of card holds, and what to tell an engine that runs on it.

    Parameters
    ----------
    type
        Its type, its name, or what machines call it.
    """
    found = session.gateway.get(f"/recommendations/{segment(type)}", Recommendation)
    text = recommendation_text(found, colour=session.printer.colour)
    session.printer.value(found, text, f"gpu/{found.gpu.type}")


@app.command
def compatibility(
    model: str | None = None,
    /,
    *,
    gpu: Card | None = None,
    asked: Asked = Asked(),
    revision: str = "",
    file: str = "",
    token_secret: str = "",
    refresh: bool = False,
    place: Annotated[str, Parameter(name="--from")] = "",
    session: Here,
) -> int:
    """Say whether MODEL fits on a kind of card, or on which of all, and show the arithmetic.

    Fails unless it is sure to fit on the card that was named.

    Parameters
    ----------
    model
        A model's id, the name of installed weights, or a repository of the Hub: org/name.
    gpu
        A card's type, its name, or what machines call it. All of them, unless given.
    revision
        Branch, tag or commit of the repository; looks on the Hub even if it is installed.
    file
        Which of several GGUF files; the one that the model's manifest names, unless given.
    token_secret
        Name of the secret that holds a token for the Hub; looks there even if it is installed.
    refresh
        First get vLLM's list of architectures anew, into this machine's MLLM_DATA_DIR: do it where
        the server runs, as it goes by its own.
    place
        With --refresh: an address or file to get it from. An installed vLLM, or else vLLM's own
        repository, unless given.
    """
    if refresh:
        _refresh(session, place)
    elif place:
        raise Misused("--from says where to refresh from", "add --refresh")
    if model is None:
        if refresh:
            return Exit.OK
        raise Misused("MODEL is missing", "see `mllm recommend compatibility --help`")
    hub = Repository(model, revision, token_secret, file)
    found = _compared(session.gateway, model, gpu, asked, hub)
    if gpu is None:
        session.printer.rows(found, COMPARED)
        return Exit.OK
    [one] = found
    text = compatibility_text(one, colour=session.printer.colour)
    session.printer.value(one, text, f"gpu/{one.gpu.type}")
    return Exit.OK if one.fit.verdict in ("fits", "tight") else Exit.FAILED


def _profiles(gateway: Gateway) -> tuple[GpuProfile, ...]:
    return gateway.get("/recommendations/profiles", Page[GpuProfile]).items


def _compared(
    gateway: Gateway, model: str, gpu: str | None, asked: Asked, hub: Repository
) -> tuple[Compatibility, ...]:
    """By what is installed, else by what is on the Hub; one for each kind of card."""
    target = model
    if not (hub.revision or hub.secret):
        target, hub = _meant(gateway, hub)
        if _is_installed(gateway, target):
            types = [gpu] if gpu else [one.type for one in _profiles(gateway)]
            return tuple(_of_weights(gateway, one, target, hub.file, asked) for one in types)
    if "/" not in hub.name:
        raise Failure(
            f"there is neither a model nor weights called {model}",
            "see `mllm models list` and `mllm weights list`; a repository is called org/name",
            exit=Exit.NOT_FOUND,
        )
    return gateway.send(
        "POST", "/vllm/model-info", ModelAdvice, _body(hub, gpu, asked)
    ).compatibility


def _meant(gateway: Gateway, named: Repository) -> tuple[str, Repository]:
    """The weights of that name, or of the model of that name, and where they come from."""
    if "/" in named.name:
        return named.name, named
    try:
        row = gateway.get(f"/models/{segment(named.name)}", ModelDetail)
    except Failure as failure:
        if failure.exit != Exit.NOT_FOUND:
            raise
        return named.name, named
    weights = row.manifest.weights
    file = named.file or weights.file
    return weights.name, Repository(weights.repo, weights.revision, file=file)


def _is_installed(gateway: Gateway, target: str) -> bool:
    try:
        gateway.get("/weights/info", WeightsInfo, name=target)
    except Failure as failure:
        if failure.exit != Exit.NOT_FOUND:
            raise
        return False
    return True


def _of_weights(gateway: Gateway, type: str, target: str, file: str, asked: Asked) -> Compatibility:
    path, query = f"/recommendations/{segment(type)}", asked.query()
    found = gateway.get(path, Recommendation, weights=target, file=file or None, **query)
    assert found.model is not None
    return found.model


def _body(hub: Repository, gpu: str | None, asked: Asked) -> ModelInfoBody:
    """Raises `Misused` for what can not be asked."""
    said = {"hfModelId": hub.name, "gpuType": gpu, **asked.query()}
    said |= {"revision": hub.revision, "tokenSecret": hub.secret, "file": hub.file}
    try:
        return msgspec.convert(
            {name: value for name, value in said.items() if value not in (None, "")},
            ModelInfoBody,
        )
    except msgspec.ValidationError as error:
        field = str(error).rpartition("$.")[2].rstrip("`")
        raise Misused(f"{field} is malformed", "see --help") from error


def _refresh(session: Session, place: str) -> None:
    """Raises `Failure` when there is no registry to be had."""
    from cli.config import read_settings
    from processors.advice import architectures
    from processors.advice.refreshing import fetched

    settings = read_settings({})
    try:
        text, source = fetched(place)
        today = datetime.now(UTC).date().isoformat()
        registry = architectures.parsed(text, source, today)
        path = architectures.keep(settings.data_dir, registry)
    except architectures.NoRegistry as error:
        raise Failure(str(error), "name vLLM's registry.py with --from FILE or URL") from error
    except OSError as error:
        raise Failure(f"{settings.data_dir}: {error.strerror}", "check MLLM_DATA_DIR") from error
    session.hint(f"{len(registry.architectures)} architectures of {source}, in {path}")
    with suppress(Failure):  # there need be no server here
        known = session.gateway.get("/vllm/supported-models", SupportedModels, limit=1)
        if (known.source, known.as_of) != (source, today):
            session.hint(
                f"the server still goes by the list of {known.as_of}: do this on its machine,"
                " with its MLLM_DATA_DIR"
            )
