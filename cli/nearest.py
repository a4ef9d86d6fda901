"""What a name that is none was probably meant to be."""

from collections.abc import Generator
from contextlib import contextmanager

import msgspec

from cli.client import Gateway
from cli.failures import Failure

LIST = "see `mllm models list`"


@contextmanager
def known_models(gateway: Gateway, model: str) -> Generator[None]:
    """Whoever names a model that is not there is told which there is of nearly that name."""
    try:
        yield
    except Failure as failure:
        if failure.code == "not_found":
            near = _nearest(gateway, model)
            failure.remedy = f"did you mean {near!r}? {LIST}" if near else f"{LIST}; -n NAMESPACE"
        raise


class _Names(msgspec.Struct):
    """What a model may be called."""

    id: str
    aliases: tuple[str, ...] = ()


def _nearest(gateway: Gateway, model: str) -> str:
    """Nobody is worse off if that can not be found out."""
    import difflib  # here, because it is seldom needed

    try:
        rows = gateway.rows("/models", _Names).rows
    except Failure:
        return ""
    meant = {name: row.id for row in rows for name in (row.id, *row.aliases)}
    if model in meant:  # where only an id will do
        return meant[model] if meant[model] != model else ""
    return next(iter(difflib.get_close_matches(model, meant, n=1, cutoff=0.6)), "")
