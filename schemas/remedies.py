"""What to do about what keeps a model from serving, as checks and refusals alike say it."""

from collections.abc import Sequence

import msgspec

from schemas.checks import Capacity
from schemas.facts import first_part
from schemas.manifest import WeightsSource
from schemas.message import Rejected


def install(source: WeightsSource) -> str:
    """What brings the weights that a manifest names."""
    return _install(source.repo or "REPO", source.revision, source.target)


def install_again(repo: str, revision: str, target: str) -> str:
    """What brings weights anew that are not what was installed."""
    return f"{_install(repo, revision, target)} --overwrite"


def _install(repo: str, revision: str, target: str) -> str:
    of = f" --revision {revision}" if revision != "main" else ""
    named = f" --target {target}" if target not in ("", repo) else ""
    return f"mllm weights install {repo}{of}{named}"


def refuse_unknown_file(wanted: str, models: Sequence[str]) -> None:
    """Raises `Rejected` for a `weights.file` that is none of the GGUF models, nor a part of one."""
    if wanted and first_part(wanted) not in models:
        raise Rejected(
            "weights_file_missing",
            f"there is no GGUF model {wanted!r} in the weights",
            remedy=f"name one of: {', '.join(models)}"
            if models
            else "leave out `weights.file`: they hold no GGUF model",
            files=models,
        )


def too_few_gpus(model: str, capacity: Capacity, room: str = "") -> Rejected:
    """`room` is a slot, if there is one, without whose model there would be enough."""
    holders = ", ".join(f"{one.name} ({one.gpus})" for one in capacity.holders)
    held = f"; held by {holders}" if holders else ""
    return Rejected(
        "no_capacity",
        f"{model} needs {capacity.wanted} GPUs, {capacity.free} of {capacity.total} are free{held}",
        wanted=capacity.wanted,
        free=capacity.free,
        total=capacity.total,
        holders=msgspec.to_builtins(capacity.holders),
        remedy=_free_gpus(model, room),
    )


def _free_gpus(model: str, room: str) -> str:
    if not room:
        return "free them, or ask for fewer in `resources.gpus`"
    return (
        f"free them, ask for fewer in `resources.gpus`, or take the place of what is in {room}:"
        f" mllm runtime activate {model} --slot {room} --preempt"
    )
