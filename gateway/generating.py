"""A manifest for weights, from what their own files say."""

import re
from typing import NamedTuple

from schemas.advice import Compatibility
from schemas.facts import Facts
from schemas.manifest import EngineArguments, Manifest, Resources, WeightsSource

NOT_IN_IDS = re.compile(r"[^a-z0-9._-]+")


class Known(NamedTuple):
    """What is known of weights. `fit` is how they would be served on the cards there are."""

    source: WeightsSource
    facts: Facts
    license: str = ""
    fit: Compatibility | None = None


def generated(known: Known, id: str | None) -> Manifest:
    """The manifest. What goes without saying is left to be decided when it serves."""
    name = known.source.name.rpartition("/")[2]
    fit = known.fit.fit if known.fit else None
    return Manifest(
        id=id or id_of(name),
        weights=known.source,
        display_name=name[:200],
        engine=EngineArguments(
            tensor_parallel_size=max(1, fit.tensor_parallel) if fit else 1,
            pipeline_parallel_size=max(1, fit.pipeline_parallel) if fit else 1,
        ),
        resources=Resources(gpus=fit.gpus if fit else 0),
        license=" ".join(known.license.split())[:200],
    )


def id_of(name: str) -> str:
    """What a model of that name may be called."""
    return NOT_IN_IDS.sub("-", name.lower())[:63].strip("._-") or "model"


def notes(known: Known) -> tuple[str, ...]:
    """Where what the manifest says was read, and what it could not say."""
    facts, source = known.facts, known.source
    said = [f"the files are {facts.format}, of the architecture {facts.architecture or 'unknown'}"]
    if facts.context:
        said.append(f"its context is {facts.context} tokens; `engine.maxModelLen` may shorten it")
    if len(facts.gguf_files) > 1 and not source.file:
        files = ", ".join(facts.gguf_files[:20])
        said.append(f"it has several GGUF files; `weights.file` picks one of them: {files}")
    if known.fit is None:
        said.append("no GPUs are known here, so it asks for none")
    else:
        said.append(_reckoned(known.fit))
    return (*said, *facts.notes)


def _reckoned(found: Compatibility) -> str:
    fit = found.fit
    if fit.verdict == "unknown":
        return f"whether it fits on {found.gpu.name} can not be told"
    return f"on {found.gpu.name}: {fit.verdict.replace('-', ' ')}, with {fit.gpus} of them"
