"""`--only`: some of a role's parts."""

from collections.abc import Collection, Sequence

from cli.failures import Misused


def chosen(known: Collection[str], only: Sequence[str]) -> list[str]:
    """The parts named by `only`, or all of them. Raises `Misused` for a name nobody knows."""
    for name in only:
        if name not in known:
            raise Misused(f"there is no {name!r} to run", f"known are: {', '.join(known)}")
    return [name for name in known if not only or name in only]
