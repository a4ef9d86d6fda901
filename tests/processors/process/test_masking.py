"""Values of secrets are hidden in what servers print, however it comes."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from processors.process import logs
from processors.process.masking import Mask
from schemas.manifest import EnvVar, SecretKey
from tests.processors.process.rig import instance, machine


async def chunks(said: Sequence[bytes]) -> AsyncIterator[bytes]:
    for one in said:
        yield one


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
async def test_a_value_is_hidden_wherever_chunks_end(size: int) -> None:
    text = b"key=s3cret-value\nand s3cret-value again, s3cret-v"
    mask = Mask(["s3cret-value\n"])
    pieces = [text[at : at + size] for at in range(0, len(text), size)]

    said = b"".join([one async for one in mask.lines(chunks(pieces))]).decode()

    assert said == "key=…\nand … again, s3cret-v"


def test_every_line_of_a_value_is_hidden_and_the_longer_of_two_first() -> None:
    assert Mask(["first\nsecond", "first and more"]).hide(b"first and more, second") == (
        "…, …".encode()
    )


def test_what_is_too_short_to_be_a_secret_stays() -> None:
    assert Mask(["1", ""]).hide(b"100") == b"100"


def test_last_words_are_cut_after_secrets_were_hidden(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("x" + "s3cret" * 400)

    assert "cret" not in logs.last_words(log, Mask(["s3cret" * 400]))


def test_a_line_without_an_end_is_not_read_whole(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        file.truncate(logs.MOST_TAIL * 4)

    assert len(logs.last_words(log, Mask())) <= logs.LAST_LETTERS


async def test_logs_hold_no_secret(tmp_path: Path) -> None:
    async with machine(tmp_path) as here:
        await here.secrets.set("default", "hub", "s3cret")
        await here.serves(instance(variables=(EnvVar("FAKE_SAY", secret=SecretKey("hub")),)))
        pod = here.place().pod

        lines = here.workloads.logs("default", pod, follow=False, tail=10)
        said = b"".join([chunk async for chunk in lines])

        assert b"serving" in said
        assert b"s3cret" not in said
