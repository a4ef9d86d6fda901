"""Manifests as people write them: read strictly, with everything that is wrong told at once.

What is kept of a manifest tolerates fields it does not know (`schemas/manifest.py`); what people
write may not have any, so that a slip of the pen is an error and not a silent default.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Any, TypeAlias, TypeGuard

import msgspec
from msgspec import inspect

from schemas.manifest import MAX_MANIFEST_BYTES, EnvVar, Manifest
from schemas.manifest_rules import RULES, STAND_INS
from schemas.manifest_words import FIELDS, KINDS, OTHER_KINDS
from schemas.message import Rejected, Value

SCHEMA_ID = "urn:mllm:schema:model-manifest"
DIALECT = "https://json-schema.org/draft/2020-12/schema"

MOST_ERRORS = 100
MOST_NAMES = 1000
"""Of a mapping, such as labels."""

LONGEST = 2**63 - 1

Schema: TypeAlias = dict[str, Any]
Plain: TypeAlias = dict[str, Any]


def read_manifest(data: object) -> Manifest:
    """A manifest from what JSON or YAML decoded to.

    Raises `Rejected` with `invalid_manifest`; its `errors` are all that is wrong, each with the
    path of the field it is about.
    """
    errors = tuple(islice(_wrong(_MANIFEST, data, ""), MOST_ERRORS))
    if not errors:
        manifest = msgspec.convert(data, Manifest)
        size = len(msgspec.json.encode(manifest))
        if size <= MAX_MANIFEST_BYTES:
            return manifest
        most = f"{MAX_MANIFEST_BYTES} is the most"
        errors = (f"it is too long: {size} bytes as JSON, and {most}",)
    raise Rejected(
        "invalid_manifest",
        "the manifest is not valid",
        errors=errors,
        remedy="put it right; `mllm models validate FILE` reads it again",
    )


def salvaged(data: object, errors: Sequence[str]) -> Manifest | None:
    """The manifest that is left without the fields that are wrong; None if that is none either."""
    if not _is_mapping(data):
        return None
    wrong = {re.split(r"[.:\[]", error, maxsplit=1)[0] for error in errors}
    try:
        return read_manifest({key: said for key, said in data.items() if key not in wrong})
    except Rejected:
        return None


def written(value: Value) -> Plain:
    """A manifest, or a part of one, as someone would write it: without what goes without saying."""
    plain: Plain = {}
    for field in msgspec.structs.fields(type(value)):
        said = getattr(value, field.name)
        if said != _default(field):
            plain[field.encode_name] = _plain(said)
    if isinstance(value, EnvVar) and not value.secret and not value.config_map:
        plain["value"] = value.value
    return plain


def manifest_schema() -> Schema:
    """The JSON Schema (2020-12) of a manifest. Rules between fields are more than it can say."""
    _, definitions = msgspec.json.schema_components([Manifest], ref_template="#/$defs/{name}")
    for name, definition in definitions.items():
        definition["additionalProperties"] = False
        if "description" in definition:
            definition["description"] = " ".join(definition["description"].split())
        for field, words in FIELDS[name].items():
            definition["properties"][field]["description"] = words
    whole = definitions.pop("Manifest")
    about = {"$schema": DIALECT, "$id": SCHEMA_ID, "title": "Model manifest"}
    schema = {**whole, **about, "$defs": definitions}
    return msgspec.convert(msgspec.json.decode(msgspec.json.encode(schema)), Schema)


def _plain(said: object) -> object:
    if isinstance(said, Value):
        return written(said)
    if _is_list(said):
        return [_plain(entry) for entry in said]
    return said


def _default(field: msgspec.structs.FieldInfo) -> object:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def _wrong(type: inspect.Type, data: object, path: str) -> Iterator[str]:
    """What is wrong with `data`, which stands at `path` and is to be of `type`."""
    match type:
        case inspect.UnionType(types=types):
            if data is not None:
                [other] = [one for one in types if not isinstance(one, inspect.NoneType)]
                yield from _wrong(other, data, path)
        case inspect.StructType():
            yield from _wrong_struct(type, data, path)
        case inspect.VarTupleType(item_type=item, max_length=most):
            yield from _wrong_list(item, most, data, path)
        case inspect.DictType(key_type=key, value_type=value):
            yield from _wrong_mapping(key, value, data, path)
        case _:
            if complaint := _wrong_leaf(type, data, path):
                yield f"{path}: {complaint}"


def _wrong_struct(type: inspect.StructType, data: object, path: str) -> Iterator[str]:
    if not _is_mapping(data):
        yield _at(path, f"has to be fields and their values, not {_kind(data)}")
        return
    known = {field.encode_name: field for field in type.fields}
    unknown = islice((key for key in data if key not in known), MOST_ERRORS)
    errors = [_at(_join(path, _shown(key)), _unknown(key, known)) for key in unknown]
    sound: dict[str, object] = {}
    for name, field in known.items():
        place = _join(path, name)
        if name in data:
            found = list(islice(_wrong(field.type, data[name], place), MOST_ERRORS))
            errors += found
            sound |= {} if found else {name: data[name]}
        elif field.required:
            errors.append(_at(place, "is missing"))
    yield from errors
    yield from _against_rules(type.cls, sound, path, whole=not errors)


def _against_rules(
    cls: type[msgspec.Struct], sound: Mapping[str, object], path: str, *, whole: bool
) -> Iterator[str]:
    """What is wrong between the fields that are `sound`, as far as that can be said of them."""
    if cls in RULES and (whole or cls in STAND_INS):
        value = msgspec.convert({**STAND_INS.get(cls, {}), **sound}, cls)
        for field, complaint in RULES[cls](value, sound):
            yield _at(_join(path, field), complaint)


def _wrong_list(item: inspect.Type, most: int | None, data: object, path: str) -> Iterator[str]:
    if not _is_list(data):
        yield f"{path}: has to be a list, not {_kind(data)}"
        return
    if most is not None and len(data) > most:
        yield f"{path}: has {len(data)} entries, and {most} is the most"
        return
    for index, entry in enumerate(data):
        yield from _wrong(item, entry, f"{path}[{index}]")


def _wrong_mapping(
    key_type: inspect.Type, value_type: inspect.Type, data: object, path: str
) -> Iterator[str]:
    if not _is_mapping(data):
        yield f"{path}: has to be names and their values, not {_kind(data)}"
        return
    if len(data) > MOST_NAMES:
        yield f"{path}: has {len(data)} entries, and {MOST_NAMES} is the most"
        return
    for key, value in data.items():
        place = f"{path}[{_shown(key)}]"
        if complaint := _wrong_leaf(key_type, key, path):
            yield f"{place}: its name {complaint}"
        yield from _wrong(value_type, value, place)


def _wrong_leaf(type: inspect.Type, data: object, path: str) -> str:
    """What is wrong with a value that has no parts; nothing when nothing is."""
    if data is None:
        return "is empty: give it a value, or leave it out"
    match type:
        case inspect.StrType():
            return _wrong_text(type, data, path)
        case inspect.BoolType():
            return "" if isinstance(data, bool) else f"has to be true or false, not {_kind(data)}"
        case inspect.LiteralType(values=values):
            return "" if data in values else _not_among(data, [str(value) for value in values])
        case inspect.IntType(ge=least, le=most):
            if isinstance(data, bool) or not isinstance(data, int):
                return f"has to be a whole number, not {_kind(data)}"
            return _outside(data, least if least is not None else -LONGEST, most or LONGEST)
        case inspect.FloatType(gt=above, le=most):
            if isinstance(data, bool) or not isinstance(data, int | float):
                return f"has to be a number, not {_kind(data)}"
            fits = above is not None and most is not None and above < data <= most
            return "" if fits else f"has to be more than {above} and at most {most}"
        case _:
            raise TypeError(f"manifests have no {type}")


def _wrong_text(type: inspect.StrType, data: object, path: str) -> str:
    if not isinstance(data, str):
        hint = ": put it in quotes" if isinstance(data, bool | int | float) else ""
        return f"has to be text, not {_kind(data)}{hint}"
    if type.max_length is not None and len(data) > type.max_length:
        return f"has {len(data)} characters, and {type.max_length} is the most"
    if len(data) < (type.min_length or 0):
        return "can not be empty"
    field = path.rpartition(".")[2]
    if any("\ud800" <= character <= "\udfff" for character in data):
        return "has half a character in it (a lone surrogate)"
    if type.pattern and not re.search(type.pattern, data):
        return f"has to be {OTHER_KINDS.get(field) or KINDS[type.pattern]}"
    return ""


def _outside(number: int, least: int, most: int) -> str:
    return "" if least <= number <= most else f"has to be from {least} to {most}"


def _not_among(data: object, values: Sequence[str]) -> str:
    shown = ", ".join(value for value in values if value)
    nearest = get_close_matches(data[:64], values, n=1) if isinstance(data, str) else []
    return f"has to be one of {shown}" + (f"; did you mean {nearest[0]}?" if nearest else "")


def _unknown(key: object, known: Mapping[str, object]) -> str:
    """An unknown field, with the nearest that is known: here or, by the same name, elsewhere."""
    name = _shown(key)
    plain = {_plainer(one): one for one in known}
    nearest = get_close_matches(_plainer(name), list(plain), n=1, cutoff=0.6)
    elsewhere = [path for path in _PATHS if path.rpartition(".")[2] == name]
    meant = plain[nearest[0]] if nearest else next(iter(elsewhere), "")
    return "there is no such field" + (f"; did you mean {meant}?" if meant else "")


def _plainer(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _shown(key: object) -> str:
    return str(key)[:64]


def _is_mapping(data: object) -> TypeGuard[Mapping[object, object]]:
    return isinstance(data, Mapping)


def _is_list(data: object) -> TypeGuard[Sequence[object]]:
    return isinstance(data, list | tuple)


def _kind(data: object) -> str:
    match data:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case Mapping():
            return "fields and values"
        case list() | tuple():
            return "a list"
        case _:  # YAML has more: dates, sets, bytes
            return f"a {type(data).__name__}"


def _at(path: str, complaint: str) -> str:
    return f"{path}: {complaint}" if path else complaint


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name


def _paths(type: inspect.Type, path: str = "") -> Iterator[str]:
    """The path of every field of the parts that are there once."""
    if isinstance(type, inspect.StructType):
        for field in type.fields:
            yield _join(path, field.encode_name)
            yield from _paths(field.type, _join(path, field.encode_name))


_MANIFEST = inspect.type_info(Manifest)
_PATHS = tuple(_paths(_MANIFEST))
