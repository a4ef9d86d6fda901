"""What an install records of the files it brought."""

from pathlib import Path

from processors.fetch.manifest import Manifest
from processors.install import installed_facts
from schemas.job import FinishedFile
from tests.processors.facts.headers import G, gguf_header, write_model, write_sparse
from tests.processors.facts.models import LLAMA_3_8B, QWEN_VALUES, llama

CONFIG = {**LLAMA_3_8B, "num_hidden_layers": 1}


def sealed(root: Path) -> Manifest:
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    finished = tuple(
        FinishedFile(path.relative_to(root).as_posix(), path.stat().st_size, "sha256", "f" * 64)
        for path in files
    )
    return Manifest("org/model", "c" * 40, "main", "job", finished)


def test_facts_are_those_of_the_files_in_the_manifest(tmp_path: Path) -> None:
    write_model(tmp_path, CONFIG, llama(CONFIG))
    manifest = sealed(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("nobody installed me")

    facts, _ = installed_facts(tmp_path, manifest)

    assert facts.layers == 1
    assert facts.parameters == 1_268_789_248
    assert not facts.chat_template


def test_files_that_are_gone_are_noted_and_fail_nothing(tmp_path: Path) -> None:
    write_model(tmp_path, CONFIG, llama(CONFIG))
    manifest = sealed(tmp_path)
    (tmp_path / "model.safetensors").unlink()

    facts, _ = installed_facts(tmp_path, manifest)

    assert facts.layers == 1
    assert any("model.safetensors" in note for note in facts.notes)


def test_every_gguf_model_has_facts_of_its_own(tmp_path: Path) -> None:
    for name, kind in (("a-Q4_0", "Q4_0"), ("b-Q8_0", "Q8_0"), ("c-00001-of-00002", "F16")):
        header = gguf_header(QWEN_VALUES, [G("blk.0.attn_q.weight", kind, (32, 2))])
        write_sparse(tmp_path / f"{name}.gguf", *header)
    (tmp_path / "c-00002-of-00002.gguf").write_bytes(gguf_header({}, [])[0])

    facts, others = installed_facts(tmp_path, sealed(tmp_path))

    assert facts.dtypes == {"Q4_0": 64}
    assert {file: dict(one.dtypes) for file, one in others.items()} == {
        "b-Q8_0.gguf": {"Q8_0": 64},
        "c-00001-of-00002.gguf": {"F16": 64},
    }


def test_a_folder_that_is_gone_fails_nothing(tmp_path: Path) -> None:
    facts, _ = installed_facts(tmp_path / "gone", sealed(tmp_path))

    assert facts.notes == ("not readable: an unexpected FileNotFoundError",)
