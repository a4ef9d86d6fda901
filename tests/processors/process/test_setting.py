"""`MLLM_ENGINES`: engines that an operator adds."""

import pytest

from cli.failures import Misused
from cli.settings import Settings, load
from schemas.engine import EngineTemplate

HOME = {"HOME": "/home/someone"}
MINE = EngineTemplate(("mine", "--port", "{port}"), "/up", ("gguf",))


def said(text: str) -> Settings:
    return load({}, {**HOME, "MLLM_ENGINES": text}, {})


def test_engines_are_written_in_yaml_or_json_or_the_configuration_file() -> None:
    yaml = "mine: {command: [mine, --port, '{port}'], health: /up, formats: [gguf]}"
    json = (
        '{"mine": {"command": ["mine", "--port", "{port}"], "health": "/up", "formats": ["gguf"]}}'
    )
    file: dict[str, object] = {
        "engines": {
            "mine": {"command": ["mine", "--port", "{port}"], "health": "/up", "formats": ["gguf"]}
        }
    }

    assert said(yaml).engines == said(json).engines == load({}, HOME, file).engines
    assert said(yaml).engines == {"mine": MINE}
    assert load({}, HOME, {}).engines == said("").engines == {}


@pytest.mark.parametrize(
    "text", ["[", "[1]", "mine", "mine: {}", "mine: {command: [mine]}", "mine: {command: '{port}'}"]
)
def test_malformed_engines_are_an_error_that_names_the_setting(text: str) -> None:
    with pytest.raises(Misused, match="MLLM_ENGINES is malformed"):
        said(text)


def test_a_served_model_has_a_grace_to_stop() -> None:
    assert load({}, {**HOME, "MLLM_GRACE_SECONDS": "2"}, {}).grace_seconds == 2
