"""Which GGUF file of those installed is served."""

from pathlib import Path

import pytest

from processors.fetch.layout import Layout
from processors.process.weights import gguf_file, gguf_models, installed
from schemas.message import Rejected


def holding(folder: Path, *files: str) -> Path:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_the_only_file_is_it(tmp_path: Path) -> None:
    holding(tmp_path, "README.md", "deep/model.gguf", "mmproj-model.gguf", ".mllm/x.gguf")

    assert gguf_file(tmp_path, "") == tmp_path / "deep/model.gguf"


def test_a_model_in_parts_is_its_first_part(tmp_path: Path) -> None:
    holding(tmp_path, *(f"m-0000{part}-of-00003.gguf" for part in (1, 2, 3)))

    assert gguf_models(tmp_path) == ["m-00001-of-00003.gguf"]
    assert gguf_file(tmp_path, "") == tmp_path / "m-00001-of-00003.gguf"
    assert gguf_file(tmp_path, "m-00002-of-00003.gguf") == tmp_path / "m-00001-of-00003.gguf"


def test_of_several_one_has_to_be_named(tmp_path: Path) -> None:
    holding(tmp_path, "m-q4.gguf", "m-q8.gguf")

    with pytest.raises(Rejected, match=r"m-q4\.gguf, m-q8\.gguf") as raised:
        gguf_file(tmp_path, "")
    assert raised.value.code == "weights_ambiguous"
    assert gguf_file(tmp_path, "m-q8.gguf") == tmp_path / "m-q8.gguf"


@pytest.mark.parametrize("wanted", ["none.gguf", "../other.gguf", "/etc/passwd", "README.md"])
def test_only_what_is_among_them_can_be_named(tmp_path: Path, wanted: str) -> None:
    holding(tmp_path / "m", "m-q4.gguf", "README.md")
    holding(tmp_path, "other.gguf")

    with pytest.raises(Rejected) as raised:
        gguf_file(tmp_path / "m", wanted)
    assert raised.value.code == "weights_file_missing"


def test_a_directory_is_weights_only_with_its_manifest(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    folder = holding(tmp_path / "default/org/m", "model.gguf")

    with pytest.raises(Rejected, match="no weights called org/m"):
        installed(layout, "default", "org/m")
    holding(folder, ".mllm/manifest.json")
    assert installed(layout, "default", "org/m") == folder
