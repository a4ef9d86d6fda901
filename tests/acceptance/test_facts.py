"""What is installed tells what it is."""

from pathlib import Path
from uuid import uuid4

from tests.hub import Hub, Repo
from tests.processors.facts.headers import T, write_model
from tests.processors.facts.models import LLAMA_3_8B
from tests.system import System

TENSORS = [T(f"model.layers.{n}.mlp.up_proj.weight", "BF16", (1024, 1024)) for n in range(2)]


def test_installed_weights_say_what_model_they_are(mllm: System, hub: Hub, tmp_path: Path) -> None:
    source = write_model(tmp_path, LLAMA_3_8B, TENSORS, shards=2)
    name = f"org/m{uuid4().hex[:8]}"
    hub.repos[name] = Repo(name, {path: tmp_path / path for path in source.files})

    assert mllm.cli("weights", "install", name, "--watch").code == 0

    facts = mllm.get("/weights/info", name=name)["weights"]["facts"]
    assert facts["architecture"] == "LlamaForCausalLM"
    assert facts["parameters"] == 2 * 1024 * 1024
    assert facts["notes"] == []
    asked = ("--gpu", "h100", "--context-length", "1024")
    assert mllm.cli("recommend", "compatibility", name, *asked).out.startswith("fits: 1 x NVIDIA")
