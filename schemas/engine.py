"""Engines that an operator adds: how each is started, by name (`MLLM_ENGINES`).

A manifest can name one of them; what is run is the operator's word alone.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from schemas.facts import Format
from schemas.names import END, Engine

BuiltIn: TypeAlias = Literal["llamacpp", "vllm"]
LLAMACPP: Final = "llamacpp"
VLLM: Final = "vllm"

PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
EXTRA = "{extra}"
PLACEHOLDERS = frozenset({"model", "port", "host", "name", "extra"})


def suited(*, gguf: bool) -> BuiltIn:
    """The engine on one machine for weights with a GGUF model among them, or without, where the
    manifest names none."""
    return LLAMACPP if gguf else VLLM


class EngineTemplate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`command` is an argument vector, no shell's text: `{model}` becomes the path of the weights,
    `{name}` what the model is to be called, `{host}` and `{port}` where it is to listen; `{extra}`,
    alone in an argument, the manifest's extra arguments. `health` answers 200 once it serves.

    `formats` are those it can read, any if none is said; with gguf among them, `{model}` is the
    GGUF file where there is one, else it is the directory.
    """

    command: Annotated[tuple[str, ...], Meta(min_length=1, max_length=200)]
    health: Annotated[str, Meta(pattern=r"^/[!-~]{0,200}$" + END)] = "/health"
    formats: tuple[Format, ...] = ()


def read_engines(given: object) -> Mapping[str, EngineTemplate]:
    """What an operator set, checked. Raises `ValueError`."""
    engines = msgspec.convert(given or {}, dict[Engine, EngineTemplate])
    for name, engine in engines.items():
        _check(name, engine.command)
    return engines


def _check(name: str, command: tuple[str, ...]) -> None:
    for argument in command:
        unknown = set(PLACEHOLDER.findall(argument)) - PLACEHOLDERS
        if unknown:
            known = ", ".join(f"{{{word}}}" for word in sorted(PLACEHOLDERS))
            raise ValueError(f"{name}: {{{min(unknown)}}} is none of {known}")
        if EXTRA in argument and argument != EXTRA:
            raise ValueError(f"{name}: {EXTRA} has to be an argument of its own")
    if "{port}" not in "".join(command):
        raise ValueError(f"{name}: the command has to say {{port}}")
    if not command[0] or PLACEHOLDER.search(command[0]):
        raise ValueError(f"{name}: the command has to begin with a program")
