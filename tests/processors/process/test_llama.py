"""A real llama.cpp serves a real, if tiny, model."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cli.loopback_hub.demo import DEMO_CHATS, demo_chats
from cli.loopback_hub.gguf import speaking
from processors.process.keys import EngineKeys
from schemas.manifest import EngineArguments
from tests.processors.process.rig import QUICK, Machine, instance, living, machine
from tests.support import PATIENCE

SENTENCE = "I am here to be tested and say nothing else."


@pytest.fixture
async def here(tmp_path: Path) -> AsyncGenerator[Machine]:
    async with machine(tmp_path, QUICK) as made:
        yield made


def posted(url: str, body: Mapping[str, object], key: str) -> Any:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)


async def asked(here: Machine, url: str, words: str) -> Any:
    body = {"messages": [{"role": "user", "content": words}], "max_tokens": 64}
    key = EngineKeys(here.data).of(here.place())
    return await asyncio.to_thread(posted, f"{url}/v1/chat/completions", body, key)


async def test_a_tiny_model_is_served_answers_and_is_stopped(here: Machine) -> None:
    here.install("spoken", {"spoken.gguf": speaking("spoken", SENTENCE)})
    engine = EngineArguments(max_model_len=256, max_num_seqs=2, threads=1, kv_cache_dtype="q8_0")
    wanted = instance(runtime="", target="spoken", engine=engine)

    sight = await here.serves(wanted)
    answer = await asked(here, sight.url, "Who are you? Wer bist du, 你好?")
    family = here.processes()
    with pytest.raises(urllib.error.HTTPError, match="401"):
        await asyncio.to_thread(posted, f"{sight.url}/v1/chat/completions", {}, "another's")

    assert answer["choices"][0]["message"]["content"].strip() == SENTENCE
    assert answer["model"] == "tiny"
    await here.removed(wanted)
    assert living(family) == []
    assert "Traceback" not in here.place().log.read_text()


async def test_both_models_of_the_demo_say_who_they_are(here: Machine) -> None:
    for repo in demo_chats().values():
        name = repo.id.rpartition("/")[2]
        files = {path: blob.content for path, blob in repo.head.files.items()}
        here.install(name, {p: data for p, data in files.items() if isinstance(data, bytes)})
        wanted = instance(runtime="llamacpp", target=name)

        sight = await here.serves(wanted)
        answer = await asked(here, sight.url, "hello")

        assert answer["choices"][0]["message"]["content"].strip() == DEMO_CHATS[repo.id]
        await here.removed(wanted)


async def test_a_file_that_is_no_model_fails_with_what_llamacpp_says(tmp_path: Path) -> None:
    async with machine(tmp_path, replace(QUICK, quick_deaths=1)) as here:
        here.install("broken", {"broken.gguf": b"GGUF, or so it says"})

        sight = await here.comes_to(instance(runtime="llamacpp", target="broken"), "failed")

    assert sight.code == "engine_failed"
    assert "failed to load model" in sight.status.message


def test_the_same_name_makes_the_same_model() -> None:
    assert speaking("a", SENTENCE) == speaking("a", SENTENCE)
    assert speaking("a", SENTENCE) != speaking("b", SENTENCE)
    assert len(speaking("a", SENTENCE)) < 1 << 20


def test_a_sentence_that_says_a_word_twice_can_not_be_followed() -> None:
    with pytest.raises(ValueError, match="none of them twice"):
        speaking("a", "to be or not to be")
