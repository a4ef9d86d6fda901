r"""JSONPath as kubectl takes it: `{.items[*].id}`, `{.status}`, `{.items[?(@.code=="gated")].id}`.

Text outside of braces is printed as it stands, and so is a quoted text inside them (`{"\n"}`).
Several results of one expression are separated by a space.
"""

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias, TypeGuard

import msgspec

from cli.failures import Misused

Step: TypeAlias = Callable[[Any], Iterable[Any]]

TEMPLATE = re.compile(r"""\{((?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^{}"'])*)\}|([^{}]+)""")
NAME = re.compile(r"\.([A-Za-z_][\w-]*)|\['([^']*)'\]")
INDEX = re.compile(r"\[(-?\d+)\]")
SLICE = re.compile(r"\[(-?\d*):(-?\d*)\]")
EVERY = re.compile(r"\[\*\]|\.\*")
DEEP = re.compile(r"\.\.([A-Za-z_][\w-]*)")
FILTER = re.compile(
    r"\[\?\(\s*@((?:\.[A-Za-z_][\w-]*)+)\s*(?:(==|!=|<=|>=|<|>)\s*"
    r"""("(?:[^"\\]|\\.)*"|'[^']*'|-?\d+(?:\.\d+)?|true|false|null)\s*)?\)\]"""
)
COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


class Template:
    """A compiled template. Raises `Misused` when it is malformed."""

    def __init__(self, text: str) -> None:
        if not text:
            raise Misused("the JSONPath is empty", "write it like jsonpath='{.items[*].id}'")
        # kubectl takes `.items[0].id` as well as `{.items[0].id}`
        text = text if "{" in text else "{" + text + "}"
        self._parts = list(_parts(text))

    def render(self, value: Any) -> str:
        """The text for `value`, plain JSON. What is not there is left out."""
        return "".join(
            part if isinstance(part, str) else " ".join(map(_shown, _walk(part, value)))
            for part in self._parts
        )


def _parts(text: str) -> Iterator[str | list[Step]]:
    at = 0
    while at < len(text):
        match = TEMPLATE.match(text, at)
        if match is None:
            raise _malformed(text, at)
        at = match.end()
        if match[2] is not None:
            yield match[2].replace("\\n", "\n").replace("\\t", "\t")
        elif match[1][:1] in ('"', "'"):
            yield _literal(match[1])
        else:
            yield _steps(match[1].strip())


def _steps(path: str) -> list[Step]:
    text = path.removeprefix("$").removeprefix("@")
    text = text if text[:1] in ("", ".", "[") else f".{text}"
    steps: list[Step] = []
    at = 0
    while at < len(text) and text != ".":
        step, at = _step(text, at)
        steps.append(step)
    return steps


def _step(text: str, at: int) -> tuple[Step, int]:
    if match := EVERY.match(text, at):
        return _children, match.end()
    if match := DEEP.match(text, at):
        return _deep(match[1]), match.end()
    if match := NAME.match(text, at):
        return _child(match[1] or match[2]), match.end()
    if match := INDEX.match(text, at):
        return _item(int(match[1])), match.end()
    if match := SLICE.match(text, at):
        return _slice(*(int(n) if n else None for n in match.groups())), match.end()
    if match := FILTER.match(text, at):
        return _filter(match[1], match[2], match[3]), match.end()
    raise _malformed(text, at)


def _walk(steps: list[Step], value: Any) -> list[Any]:
    values = [value]
    for step in steps:
        values = [found for one in values for found in step(one)]
    return values


def _children(value: Any) -> Iterable[Any]:
    if _is_object(value):
        return value.values()
    return value if _is_list(value) else ()


def _child(name: str) -> Step:
    def step(value: Any) -> Iterable[Any]:
        if _is_object(value) and value.get(name) is not None:
            yield value[name]

    return step


def _deep(name: str) -> Step:
    def step(value: Any) -> Iterable[Any]:
        yield from _child(name)(value)
        for child in _children(value):
            yield from step(child)

    return step


def _item(index: int) -> Step:
    def step(value: Any) -> Iterable[Any]:
        if _is_list(value) and -len(value) <= index < len(value):
            yield value[index]

    return step


def _slice(begin: int | None = None, end: int | None = None) -> Step:
    return lambda value: value[begin:end] if _is_list(value) else ()


def _filter(path: str, comparison: str | None, literal: str | None) -> Step:
    steps = _steps(path)
    wanted = _literal(literal) if literal is not None else None
    compare = COMPARE[comparison] if comparison else None

    def holds(candidate: Any) -> bool:
        found = _walk(steps, candidate)
        if compare is None:
            return bool(found)
        value = found[0] if found else None
        alike = isinstance(value, str) == isinstance(wanted, str) and value is not None
        ordered = compare in (operator.eq, operator.ne) or (alike and wanted is not None)
        return ordered and bool(compare(value, wanted))

    return lambda value: [candidate for candidate in _children(value) if holds(candidate)]


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _literal(text: str) -> Any:
    quoted = f'"{text[1:-1]}"' if text.startswith("'") else text
    try:
        return msgspec.json.decode(quoted)
    except msgspec.DecodeError as error:
        raise Misused(f"JSONPath: {text} is malformed", 'quote text like "this"') from error


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _malformed(text: str, at: int) -> Misused:
    return Misused(
        f"JSONPath: cannot read {text[at:]!r}",
        "it takes .name, ['name'], [0], [1:3], [*], ..name and [?(@.name==\"x\")]",
    )
