"""What the tools of card makers say, and who gets which card."""

import pytest

from processors.process.devices import Card, amd, nvidia, pick

CARDS = [Card("0", "A100", 80 << 30), Card("1", "A100", 80 << 30), Card("2", "A100", 80 << 30)]


def test_nvidias_tool_is_understood() -> None:
    said = "0, NVIDIA A100-SXM4-80GB, 81920\n1, NVIDIA GB10, [N/A]\n"

    assert nvidia(said) == [
        Card("0", "NVIDIA A100-SXM4-80GB", 81920 << 20),
        Card("1", "NVIDIA GB10", 0),
    ]


def test_amds_tool_is_understood() -> None:
    said = """{"card0": {"Card Series": "Instinct MI300X", "VRAM Total Memory (B)": "206141652992"},
               "system": {"Driver version": "6"}}"""

    assert amd(said) == [Card("0", "Instinct MI300X", 206141652992)]


def test_a_server_gets_cards_that_no_other_has() -> None:
    assert pick(CARDS, ["0"], 2) == ("1", "2")
    assert pick(CARDS, [], 0) == ()


def test_with_too_few_cards_none_are_given_out() -> None:
    assert pick(CARDS, ["0", "1"], 2) == ()


def test_only_cards_that_mllm_may_see_are_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,1")

    assert pick(CARDS, [], 1) == ("2",)
