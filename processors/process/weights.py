"""Which file or directory an engine is pointed at."""

from pathlib import Path, PurePosixPath

from processors.fetch.layout import RESERVED, Layout, manifest_path
from schemas.facts import PART, first_part
from schemas.message import Rejected
from schemas.remedies import refuse_unknown_file

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
        refuse_unknown_file(wanted, models)
        return folder / first_part(wanted)
    if len(models) == 1:
        return folder / models[0]
    if not models:
        raise Rejected(
            "weights_unfit",
            "the weights hold no GGUF model",
            remedy="install some that do, or name another engine: runtime",
        )
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
