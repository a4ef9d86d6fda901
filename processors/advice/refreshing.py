"""Getting vLLM's registry of models anew: from its repository, a file, or an installed vLLM."""

import importlib.metadata
import importlib.util
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from processors.advice.architectures import MOST_BYTES, NoRegistry

REGISTRY = "model_executor/models/registry.py"
URL = f"https://raw.githubusercontent.com/vllm-project/vllm/main/vllm/{REGISTRY}"
SECONDS = 30


class Text(NamedTuple):
    """The text of a registry, and where it is from."""

    text: str
    source: str


def fetched(place: str) -> Text:
    """From an http or https address, or a file; an empty place is an installed vLLM, or else
    vLLM's repository. Raises `NoRegistry`."""
    if not place:
        return installed() or fetched(URL)
    if urlsplit(place).scheme in ("http", "https"):
        return Text(_decoded(_download(place), place), place)
    try:
        with Path(place).open("rb") as file:
            return Text(_decoded(file.read(MOST_BYTES + 1), place), place)
    except OSError as error:
        raise NoRegistry(f"{place}: {error.strerror}") from error


def installed() -> Text | None:
    """That of the vLLM beside us, which is not imported for it."""
    found = importlib.util.find_spec("vllm")
    places = found.submodule_search_locations if found else None
    for place in places or ():
        path = Path(place) / REGISTRY
        if path.is_file():
            version = importlib.metadata.version("vllm")
            return Text(_decoded(path.read_bytes(), str(path)), f"vLLM {version}")
    return None


def _download(url: str) -> bytes:
    request = Request(url, headers={"User-Agent": "mllm"})
    try:
        with urlopen(request, timeout=SECONDS) as answer:
            raw: bytes = answer.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        host = urlsplit(url).hostname
        raise NoRegistry(f"{host} does not answer ({type(error).__name__})") from error
    return raw


def _decoded(raw: bytes, place: str) -> str:
    if len(raw) > MOST_BYTES:
        raise NoRegistry(f"{place} is too long to be vLLM's registry")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise NoRegistry(f"{place} is not text") from error
