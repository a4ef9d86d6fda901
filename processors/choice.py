"""Which of a repository's files an install brings. Pure.

Weights are often published twice: as safetensors, and as pickles that can run code when loaded.
Unless globs say otherwise, pickles are left out of every folder that has safetensors.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from schemas.plan import LeftOut, PlannedFile

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
PICKLE_INDEXES = tuple(f"{suffix}.index.json" for suffix in PICKLES)


def choose(
    files: Sequence[PlannedFile], include: Sequence[str], exclude: Sequence[str]
) -> tuple[tuple[PlannedFile, ...], tuple[LeftOut, ...]]:
    """The files to bring and, of the others, the reasons. Order is kept."""
    chosen: list[PlannedFile] = []
    left_out: list[LeftOut] = []
    safe = {folder(file.path) for file in files if file.path.endswith(".safetensors")}
    for file in files:
        if why := _reason(file.path, include, exclude, safe):
            left_out.append(LeftOut(file.path, why))
        else:
            chosen.append(file)
    return tuple(chosen), tuple(left_out)


def _reason(path: str, include: Sequence[str], exclude: Sequence[str], safe: set[str]) -> str:
    if include and not matches(path, include):
        return "not included"
    if matches(path, exclude):
        return "excluded"
    pickled = path.endswith(PICKLES) or path.endswith(PICKLE_INDEXES)
    if pickled and not include and folder(path) in safe:
        return "a pickle beside safetensors"
    return ""


def matches(path: str, globs: Sequence[str]) -> bool:
    """Globs as the Hub's own tools take them: `*` also matches `/`, `dir/` means all below it."""
    return any(fnmatchcase(path, f"{glob}*" if glob.endswith("/") else glob) for glob in globs)


def folder(path: str) -> str:
    return str(PurePosixPath(path).parent)
