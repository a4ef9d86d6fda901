"""Which architectures engines know: registries as they were on some day, and vLLM's anew.

vLLM's is Python: dictionaries from an architecture's name to the module and class that serve it. It
is read as text, and never run.
"""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path

import msgspec

from processors.drafts import drafted
from schemas.advice import Architecture, Kind, Registry, Support
from schemas.engine import LLAMACPP, BuiltIn
from schemas.facts import Facts
from schemas.message import Value

FILE = "vllm-architectures.json"
MOST_BYTES = 5 << 20

KINDS: Mapping[str, Kind] = {
    "_TEXT_GENERATION_MODELS": "text-generation",
    "_EMBEDDING_MODELS": "embedding",
    "_LATE_INTERACTION_MODELS": "embedding",
    "_REWARD_MODELS": "cross-encoder",
    "_TOKEN_CLASSIFICATION_MODELS": "cross-encoder",
    "_SEQUENCE_CLASSIFICATION_MODELS": "cross-encoder",
    "_CROSS_ENCODER_MODELS": "cross-encoder",
    "_MULTIMODAL_MODELS": "multimodal",
    "_SPECULATIVE_DECODING_MODELS": "speculative",
    "_TRANSFORMERS_SUPPORTED_MODELS": "transformers",
    "_TRANSFORMERS_BACKEND_MODELS": "transformers",
}
"""vLLM's dictionaries; a name in several of them is what the first of them says."""

REFRESH = (
    "a newer list may know it: mllm recommend compatibility --refresh, on the server's machine"
    " and with its MLLM_DATA_DIR"
)
GONE = "_PREVIOUSLY_SUPPORTED_MODELS"


class NoRegistry(Exception):
    """That is not vLLM's registry of models. The text is for people."""


class LlamaArchitectures(Value):
    """What llama.cpp calls the architectures that it knew on the day `as_of`."""

    as_of: str
    source: str
    architectures: tuple[str, ...]


@cache
def shipped() -> Registry:
    return msgspec.json.decode(_resource("architectures.json"), type=Registry)


@cache
def llama_cpp() -> LlamaArchitectures:
    return msgspec.json.decode(_resource("llama_cpp.json"), type=LlamaArchitectures)


def _resource(name: str) -> bytes:
    return resources.files("processors.advice").joinpath(name).read_bytes()


def newest(data_dir: Path) -> Registry:
    """The registry that was refreshed here, or the shipped one if that is newer."""
    try:
        refreshed = msgspec.json.decode((data_dir / FILE).read_bytes(), type=Registry)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return shipped()
    return refreshed if refreshed.as_of >= shipped().as_of else shipped()


def keep(data_dir: Path, registry: Registry) -> Path:
    """Write a registry where `newest` finds it. Raises `OSError`."""
    data_dir.mkdir(parents=True, exist_ok=True)
    path = data_dir / FILE
    content = msgspec.json.format(msgspec.json.encode(registry), indent=1) + b"\n"
    with drafted(path, content, mode=0o644) as draft:
        draft.replace(path)
    return path


def parsed(text: str, source: str, as_of: str) -> Registry:
    """The registry that the text of vLLM's registry.py holds. Raises `NoRegistry`.

    It says nothing of models and examples: those that are known already are kept.
    """
    tables = _tables(text)
    found: dict[str, Architecture] = {}
    for table, kind in KINDS.items():
        for name in tables.get(table, {}):
            found.setdefault(name, described(name, kind))
    if not found:
        raise NoRegistry(f"{source} lists no models as vLLM's registry does")
    for name, version in tables.get(GONE, {}).items():
        found.setdefault(name, Architecture(name, "text-generation", removed_in=version))
    return Registry(as_of, source, tuple(found[name] for name in sorted(found)))


def described(name: str, kind: Kind) -> Architecture:
    """With what is known of it already, if it was supported then."""
    known = {one.name: one for one in shipped().architectures if not one.removed_in}
    return known.get(name) or Architecture(name, kind)


def _tables(text: str) -> Mapping[str, Mapping[str, str]]:
    if len(text) > MOST_BYTES:
        raise NoRegistry("too long to be vLLM's registry")
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NoRegistry("it is not Python") from error
    return {
        target.id: dict(_entries(node.value))
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }


def _entries(table: ast.Dict) -> Iterator[tuple[str, str]]:
    """Names, each with its value if that is a text; what is computed is in other tables, too."""
    for key, value in zip(table.keys, table.values, strict=True):
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            said = value.value if isinstance(value, ast.Constant) else ""
            yield key.value[:200], said if isinstance(said, str) else ""


def support(facts: Facts, engine: BuiltIn, registry: Registry) -> Support:
    """Whether the engine that would serve the model knows its architecture."""
    name = facts.architecture
    if not name:
        why = "the files do not say what architecture it is"
        return Support(engine, "", None, why, "see what its repository says of how it is served")
    if engine == LLAMACPP:
        return _by_llama_cpp(name)
    if facts.format == "gguf":
        why = "what vLLM makes of GGUF is experimental"
        return Support(engine, name, None, why, "serve it with llamacpp")
    found = next((one for one in registry.architectures if one.name == name), None)
    when = f"as of {registry.as_of}"
    if found is None:
        why = f"vLLM did not list it {when}; a newer one, or Transformers' code in it, may know it"
        return Support(engine, name, None, why, REFRESH)
    if found.removed_in:
        why = f"vLLM dropped it after version {found.removed_in}"
        return Support(engine, name, False, why, "have MLLM_ENGINES run that version, and name it")
    how = " through Transformers' code" if found.kind == "transformers" else ""
    return Support(engine, name, True, f"vLLM serves it{how}, {when}")


def _by_llama_cpp(name: str) -> Support:
    known = llama_cpp()
    if name in known.architectures:
        return Support(LLAMACPP, name, True, f"llama.cpp serves it, as of {known.as_of}")
    why = f"llama.cpp did not list it as of {known.as_of}; a newer one may"
    return Support(LLAMACPP, name, None, why, "try it: what llama.cpp does not know, it refuses")
