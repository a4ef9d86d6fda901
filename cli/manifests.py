"""Manifests in files: found, decoded, and written as YAML."""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import yaml

from cli.failures import Failure, Misused
from schemas.manifest import Manifest
from schemas.manifest_reading import read_manifest, written
from schemas.message import Rejected
from schemas.strict_json import read_json

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
STDIN = "-"
MOST_FIELDS = 10_000
"""Of a mapping: merging one into another and again doubles it each time."""


class Document(NamedTuple):
    """One manifest as it was written; `where` says where, as in `models/a.yaml` or `a.yaml#2`."""

    where: str
    data: object


class Read(NamedTuple):
    """One manifest as it was understood."""

    where: str
    manifest: Manifest


class Loader(yaml.SafeLoader):
    """YAML in which a field that is there twice is an error: the first would be lost unseen."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > MOST_FIELDS:
            raise yaml.constructor.ConstructorError(
                None, None, f"more than {MOST_FIELDS} fields", node.start_mark
            )

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for name, count in Counter(names).items():
            if name != "<<" and count > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{name} is there more than once", node.start_mark
                )
        return super().construct_mapping(node, deep=deep)


def existing(place: str) -> Path:
    """Raises `Misused` when there is no such place."""
    if not os.path.exists(place):
        raise Misused(f"there is no file or directory {place}")
    return Path(place)


def files_of(place: str) -> list[Path]:
    """The file that `place` is; or, of a directory, the manifests in it and below, in order.

    What is hidden, as .git is, is left out. Raises `Misused` when there is no such place, and
    `Failure` when a part of it can not be read: what is in there is not known to be gone.
    """
    path = existing(place)
    if not path.is_dir():
        return [path]
    try:
        return sorted(_below(path))
    except OSError as error:
        raise Failure(f"{error.filename} can not be read: {_reason(error)}") from error


def _below(directory: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise error

    for at, inner, names in os.walk(directory, onerror=refuse):
        inner[:] = [name for name in inner if not name.startswith(".")]
        for name in names:
            if Path(name).suffix in SUFFIXES and not name.startswith("."):
                yield Path(at, name)


def documents(place: str) -> list[Document]:
    """Every manifest in a file, a directory or, for `-`, what comes in.

    Raises `Misused` when there is none, or no such place, and `Failure` when one can not be read.
    """
    if place == STDIN:
        found = _decoded("stdin", sys.stdin.read(), as_json=False)
    else:
        found = [document for path in files_of(place) for document in _of_file(path)]
    if not found:
        where = "stdin" if place == STDIN else place
        raise Misused(f"there is no manifest in {where}", "manifests are *.yaml, *.yml or *.json")
    return found


def _of_file(path: Path) -> list[Document]:
    try:
        text = path.read_text("utf-8-sig")  # editors may begin a file with a mark
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{path} can not be read: {_reason(error)}") from error
    return _decoded(str(path), text, as_json=path.suffix == ".json")


def _decoded(where: str, text: str, *, as_json: bool) -> list[Document]:
    try:
        found = [read_json(text)] if as_json else list(yaml.load_all(text, Loader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Failure(f"{where} is not {'JSON' if as_json else 'YAML'}: {_at(error)}") from error
    said = [one for data in found for one in _listed(data) if one is not None]
    if len(said) == 1:
        return [Document(where, said[0])]
    return [Document(f"{where}#{number}", data) for number, data in enumerate(said, 1)]


def _listed(data: object) -> Sequence[object]:
    """The entries of a list of manifests, as `get -o json` prints it; or the one there is."""
    whole: object = data
    if isinstance(data, dict):
        fields = cast(dict[object, object], data)
        items = fields.get("items")
        if fields.keys() == {"items"} and isinstance(items, list):
            return cast(list[object], items)  # not looked into: one alias may stand for millions
    return [whole]


def _at(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"{error.problem}, in line {mark.line + 1}, column {mark.column + 1}"
    return " ".join(str(error).split())[:200]


def _reason(error: Exception) -> str:
    said = error.strerror if isinstance(error, OSError) else None
    return said.lower() if said else "it is not UTF-8"


def read_all(found: Iterable[Document]) -> list[Read]:
    """What they say. Raises `Failure` with everything that is wrong with any of them."""
    read, wrong = list[Read](), list[str]()
    for document in found:
        try:
            read.append(Read(document.where, read_manifest(document.data)))
        except Rejected as refusal:
            wrong += [f"{document.where}: {error}" for error in errors_of(refusal)]
    if wrong:
        remedy = "put it right; `mllm models schema` says what may be"
        if len(wrong) == 1:
            raise Failure(wrong[0], remedy)
        raise Failure(f"the manifests have {len(wrong)} errors", remedy, lines=wrong)
    return read


def errors_of(refusal: Rejected) -> tuple[str, ...]:
    """Everything that is wrong with a manifest."""
    return msgspec.convert(refusal.details.get("errors", ()), tuple[str, ...]) or (str(refusal),)


def refuse_twice(read: Iterable[Read]) -> None:
    """Raises `Misused` when two of them claim one name, be it as an id or as an alias."""
    first: dict[str, str] = {}
    for where, manifest in read:
        for name in (manifest.id, *manifest.aliases):
            if name in first:
                remedy = "a name means one model: keep one of them"
                raise Misused(f"{name} is in {first[name]} and in {where}", remedy)
            first[name] = where


def text_of(plain: Mapping[str, Any]) -> str:
    """YAML."""
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100))


def yaml_of(manifest: Manifest | None) -> str:
    """A manifest as someone would write it; nothing for none."""
    return text_of(written(manifest)) if manifest is not None else ""
