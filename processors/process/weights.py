"""Which file or directory an engine is pointed at."""

import re
from pathlib import Path, PurePosixPath

from processors.fetch.layout import RESERVED, Layout, manifest_path
from schemas.message import Rejected

PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
PROJECTOR = "mmproj"


def installed(layout: Layout, namespace: str, target: str) -> Path:
    """The directory of installed weights. Raises `Rejected`."""
    folder = layout.target(namespace, target)
    if not manifest_path(folder).is_file():
        raise Rejected(
            "weights_missing",
            f"no weights called {target} are installed on this machine",
            remedy=f"install them: mllm weights install REPO --target {target}",
        )
    return folder


def gguf_models(folder: Path) -> list[str]:
    """The GGUF models in a directory, each by its file or by the first of its parts."""
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*.gguf")]
    return sorted(path for path in files if _is_model(path))


def gguf_file(folder: Path, wanted: str) -> Path:
    """The GGUF model that is `wanted`, or the only one. Raises `Rejected`."""
    models = gguf_models(folder)
    if wanted:
        first = _first_part(wanted)
        if first not in models:
            raise Rejected(
                "weights_file_missing",
                f"there is no GGUF model {wanted!r} in the weights",
                remedy=f"name one of: {', '.join(models) or 'there is none'}",
                files=models,
            )
        return folder / first
    if len(models) == 1:
        return folder / models[0]
    if not models:
        raise Rejected("weights_unfit", "the weights hold no GGUF model")
    raise Rejected(
        "weights_ambiguous",
        f"the weights hold {len(models)} GGUF models: {', '.join(models)}",
        remedy="name one of them: weights.file",
        files=models,
    )


def _is_model(path: str) -> bool:
    part = PART.search(path)
    return (
        PurePosixPath(path).parts[0] != RESERVED
        and not PurePosixPath(path).name.startswith(PROJECTOR)
        and (part is None or int(part[1]) == 1)
    )


def _first_part(path: str) -> str:
    return PART.sub(lambda part: f"-00001-of-{part[2]}.gguf", path)
