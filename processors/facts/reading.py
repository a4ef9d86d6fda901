"""All that a model's files say of it, read from their headers: a few reads, whatever its size."""

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from processors.facts import gguf, metadata
from processors.facts.arithmetic import parameters
from processors.facts.config import Config, understood
from processors.facts.fields import NOTHING, Fields, decoded
from processors.facts.safetensors import tensors_of
from processors.facts.shapes import with_shapes
from processors.facts.source import Bounded, Broken, Source, Unreadable, whole
from processors.facts.tensors import Expected, Tensor, count
from schemas.facts import PART, Facts, first_part

MOST_CONFIG = 10 << 20
MOST_TOKENIZER = 32 << 20
MOST_INDEX = 48 << 20
MOST_BYTES = 512 << 20
MOST_PARAMETERS = 1 << 60
MOST_SHARDS = 2_000
MOST_TENSORS = 600_000
MOST_NAMED = 8_000
"""Letters that the names of GGUF files may take: facts are kept in the log."""

MOST_DESCRIBED = 50
"""GGUF models of one repository, beside the first, whose facts are kept in the log."""

MOST_NOTES = 20
LONGEST_NOTE = 300

MOST: Mapping[str, int] = {
    "layers": 10_000, "cached_layers": 10_000, "sliding_layers": 10_000,
    "heads": 100_000, "kv_heads": 100_000,
    "head_dim": 1 << 20, "value_dim": 1 << 20, "kv_lora_rank": 1 << 20, "rope_head_dim": 1 << 20,
    "hidden_size": 1 << 24, "vocabulary": 1 << 28, "context": 1 << 30, "sliding_window": 1 << 30,
    "experts": 1 << 20, "experts_per_token": 1 << 20, "shared_experts": 1 << 20,
}  # fmt: skip
"""Figures of facts that are still believed."""

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
PROJECTOR = re.compile(r"(^|/)mmproj[^/]*$", re.IGNORECASE)
PICKLED = re.compile(r"(^|/)pytorch_model[^/]*\.bin$")


class Found(NamedTuple):
    """The tensors that could be read; not `complete` when others could not."""

    tensors: Sequence[Tensor]
    complete: bool


class Notes:
    """What could not be read, and why."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.broken = ""

    def fault(self, error: Unreadable) -> None:
        """Note why weights could not be read."""
        self.add(str(error))
        if isinstance(error, Broken):
            self.broken = self.broken or _line(str(error))

    def add(self, text: str) -> None:
        if len(self.lines) < MOST_NOTES:
            self.lines.append(_line(text))


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)[:LONGEST_NOTE]


def read_facts(source: Source, file: str = "") -> Facts:
    """What the files say; `file` picks one of several GGUF files. What can not be read is in the
    notes. Raises only what the source itself raises besides `Unreadable`."""
    notes = Notes()
    source = Bounded(source, MOST_BYTES)
    models = gguf_models(source)
    stored = sorted(path for path in source.files if path.endswith(".safetensors"))
    if stored and not file:
        facts = _of_safetensors(source, notes)
    elif models:
        facts = _of_gguf(source, notes, first_part(file) or models[0], len(models))
    else:
        facts = _of_others(source, notes)
    return replace(
        facts, gguf_files=models, notes=(*facts.notes, *notes.lines), broken=notes.broken
    )


def facts_of_others(source: Source, facts: Facts) -> Mapping[str, Facts]:
    """What the GGUF models say, by their file, that `facts` are not of."""
    source = Bounded(source, MOST_BYTES)
    others = facts.gguf_files[1:] if facts.format == "gguf" else facts.gguf_files
    return {
        file: replace(read_facts(source, file), gguf_files=()) for file in others[:MOST_DESCRIBED]
    }


def gguf_models(source: Source) -> tuple[str, ...]:
    """The GGUF files that are models, of split ones the first part: what llama.cpp is given."""
    found = [path for path in sorted(source.files) if path.endswith(".gguf")]
    parts = {path: PART.search(path) for path in found if not PROJECTOR.search(path)}
    first = [path for path, part in parts.items() if part is None or int(part[1]) == 1]
    room = accumulate(len(path) for path in first)
    return tuple(path for path, used in zip(first, room, strict=True) if used <= MOST_NAMED)


def _of_safetensors(source: Source, notes: Notes) -> Facts:
    config = _config(source, notes)
    found = _read_all(source, _shards(source, notes), tensors_of, notes)
    facts = replace(config.facts, format="safetensors", chat_template=_chats(source, notes))
    if found.complete:
        shaped = _plausible(with_shapes(facts, found.tensors), notes)
        return _counted(shaped, found.tensors, config.expected)
    stored = sum(size for path, size in source.files.items() if path.endswith(".safetensors"))
    return _reckoned(facts, config, stored, notes)


def _of_gguf(source: Source, notes: Notes, file: str, models: int) -> Facts:
    if models > 1:
        notes.add(f"there are {models} GGUF models; this is {file}")
    try:
        headers = _headers(source, _parts(source, file))
    except Unreadable as error:
        notes.fault(error)
        return Facts(format="gguf", weight_bytes=source.files.get(file, 0))
    facts, expected = metadata.facts_of(headers[0].values)
    facts = _plausible(facts, notes)
    return _counted(facts, [tensor for header in headers for tensor in header.tensors], expected)


def _of_others(source: Source, notes: Notes) -> Facts:
    """Pickles are never opened: their sizes, and what the configuration says."""
    config = _config(source, notes)
    stored = sum(size for path, size in source.files.items() if PICKLED.search(path))
    facts = replace(config.facts, chat_template=_chats(source, notes))
    return _reckoned(facts, config, stored, notes)


def _counted(facts: Facts, tensors: Sequence[Tensor], expected: Expected) -> Facts:
    totals = count(tensors, expected)
    everything = totals.parameters + totals.draft_parameters
    return replace(
        facts,
        dtypes=dict(totals.dtypes.most_common()),
        weight_bytes=totals.bytes,
        parameters=totals.parameters,
        active_parameters=totals.active(expected),
        bits=round(8 * totals.bytes / everything, 2) if everything else 0.0,
        draft_bytes=totals.draft_bytes,
        draft_parameters=totals.draft_parameters,
        embedding_bytes=totals.embedding_bytes,
        replicated_bytes=totals.replicated_bytes,
    )


def _reckoned(facts: Facts, config: Config, stored: int, notes: Notes) -> Facts:
    found = parameters(facts, config.text)
    if found is None or found.total > MOST_PARAMETERS:
        return replace(facts, weight_bytes=stored)
    notes.add("parameters are reckoned from config.json")
    bits = round(8 * stored / found.total, 2)
    return replace(
        facts,
        weight_bytes=stored,
        parameters=found.total,
        active_parameters=found.active,
        bits=bits,
    )


def _config(source: Source, notes: Notes) -> Config:
    config = understood(_json(source, "config.json", MOST_CONFIG, notes))
    return config._replace(facts=_plausible(config.facts, notes))


def _plausible(facts: Facts, notes: Notes) -> Facts:
    """Without the figures that no model can have: what is reckoned from them has to have an end."""
    wrong = [name for name, most in MOST.items() if getattr(facts, name) > most]
    if wrong:
        notes.add(f"these can not be, and are not believed: {', '.join(wrong)}")
    return replace(facts, **dict.fromkeys(wrong, 0))


def _json(source: Source, path: str, most: int, notes: Notes) -> Fields:
    if path not in source.files:
        notes.add(f"there is no {path}")
        return NOTHING
    try:
        return decoded(whole(source, path, most), path)
    except Unreadable as error:
        notes.add(str(error))
        return NOTHING


def _chats(source: Source, notes: Notes) -> bool:
    """Whether a chat template comes with the model."""
    if {"chat_template.jinja", "chat_template.json"} & source.files.keys():
        return True
    if "tokenizer_config.json" not in source.files:
        return False
    said = _json(source, "tokenizer_config.json", MOST_TOKENIZER, notes)
    return "chat_template" in said


class Index(msgspec.Struct):
    weight_map: dict[str, str]


def _shards(source: Source, notes: Notes) -> Sequence[str]:
    """The safetensors files that make up the model; others may be the same once more."""
    if INDEX in source.files:
        try:
            index = msgspec.json.decode(whole(source, INDEX, MOST_INDEX), type=Index)
            return sorted(set(index.weight_map.values()))
        except (Unreadable, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            notes.add(f"{INDEX}: not readable")
    if SINGLE in source.files:
        return [SINGLE]
    found = sorted(path for path in source.files if path.endswith(".safetensors"))
    top = [path for path in found if "/" not in path]
    own = [path for path in top if not path.startswith(("consolidated", "adapter_"))]
    return own or top or found


def _headers(source: Source, parts: Sequence[str]) -> Sequence[gguf.Header]:
    """Raises `Unreadable`."""
    headers: list[gguf.Header] = []
    tensors = 0
    for part in parts:
        headers.append(gguf.header_of(source, part))
        tensors += len(headers[-1].tensors)
        if tensors > MOST_TENSORS:
            raise Unreadable(f"{part}: more than {MOST_TENSORS:,} tensors up to here")
    return headers


def _parts(source: Source, file: str) -> Sequence[str]:
    """The parts of a split GGUF file, by its first. Raises `Unreadable` when one is missing."""
    match = PART.search(file)
    names = [file]
    if match is not None:
        stem, of = file[: match.start()], match[2]
        last = min(int(of), MOST_SHARDS)
        names = [f"{stem}-{number:05}-of-{of}.gguf" for number in range(1, last + 1)]
    if missing := next((name for name in names if name not in source.files), ""):
        raise Broken(f"{missing}: not there")
    return names


def _read_all(
    source: Source,
    paths: Sequence[str],
    read: Callable[[Source, str], list[Tensor]],
    notes: Notes,
) -> Found:
    """The tensors of several files, several at a time."""

    def attempt(path: str) -> list[Tensor] | Unreadable:
        if path not in source.files:
            return Broken(f"{path}: not there")
        try:
            return read(source, path)
        except Unreadable as error:
            return error

    tensors: list[Tensor] = []
    complete = 0 < len(paths) <= MOST_SHARDS
    with ThreadPoolExecutor(source.lanes) as pool:
        for answer in pool.map(attempt, paths[:MOST_SHARDS]):
            if isinstance(answer, Unreadable):
                notes.fault(answer)
                complete = False
            elif len(tensors) + len(answer) <= MOST_TENSORS:
                tensors += answer
            else:
                complete = False
    return Found(tensors, complete)
