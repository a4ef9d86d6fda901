"""A key that comes again brings the first seed and the first answer, whoever asks and when."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

import pytest
from nats.aio.client import Client

from commands import idempotency
from commands.idempotency import DAY, KeyNames, Keys, stream_config
from schemas.idempotency import Answer, Remembered
from schemas.log import LogUnavailable
from schemas.message import Rejected
from tests.contract import logs
from tests.proxy import proxy
from tests.servers import Server
from tests.support import PATIENCE, eventually

DONE = Answer(202, b'{"job":"01J00000000000000000000001"}')


LITTLE = 0.5
"""The patience of keys that are not there."""


async def made(client: Client, prefix: str, replicas: int = 1) -> Keys:
    names = KeyNames(prefix)
    await logs.add_stream(client, stream_config(names, replicas=replicas))
    return Keys(client, names, PATIENCE)


@pytest.fixture
async def server_keys(nats_url: str, stream_prefix: str) -> AsyncGenerator[Keys]:
    async with logs.connected([nats_url]) as client:
        yield await made(client, stream_prefix)


@pytest.fixture
async def cluster_keys(nats_cluster: Sequence[str], stream_prefix: str) -> AsyncGenerator[Keys]:
    async with logs.connected(nats_cluster) as client:
        yield await made(client, stream_prefix, replicas=3)


@pytest.fixture(params=["server_keys", "cluster_keys"])
def keys(request: pytest.FixtureRequest) -> Keys:
    implementation: Keys = request.getfixturevalue(request.param)
    return implementation


async def test_a_new_key_remembers_its_seed(keys: Keys) -> None:
    assert await keys.claim("default/t1", "k1", "f1", "s1") == Remembered("f1", "s1")
    assert await keys.claim("default/t1", "k1", "f1", "s2") == Remembered("f1", "s1")


async def test_claims_at_once_are_given_the_same_seed(keys: Keys) -> None:
    for race in range(10):
        claims = (keys.claim("default/t1", f"k{race}", "f1", f"s{n}") for n in range(6))
        seeds = {known.seed for known in await asyncio.gather(*claims)}
        assert len(seeds) == 1


async def test_an_answer_is_brought_again(keys: Keys) -> None:
    await keys.claim("default/t1", "k1", "f1", "s1")
    await keys.answer("default/t1", "k1", DONE)
    assert await keys.claim("default/t1", "k1", "f1", "s2") == Remembered("f1", "s1", DONE)


async def test_the_first_answer_stays(keys: Keys) -> None:
    await keys.claim("default/t1", "k1", "f1", "s1")
    answers = [Answer(202, b"%d" % number) for number in range(4)]
    await asyncio.gather(*(keys.answer("default/t1", "k1", answer) for answer in answers))
    first = (await keys.claim("default/t1", "k1", "f1", "s1")).answer

    await keys.answer("default/t1", "k1", Answer(500, b""))

    assert first in answers
    assert (await keys.claim("default/t1", "k1", "f1", "s1")).answer == first


async def test_a_key_with_another_request_is_refused(keys: Keys) -> None:
    await keys.claim("default/t1", "k1", "f1", "s1")
    with pytest.raises(Rejected) as refused:
        await keys.claim("default/t1", "k1", "f2", "s2")
    assert refused.value.code == "idempotency_mismatch"


async def test_keys_of_others_are_others(server_keys: Keys) -> None:
    claimed = [("default/t1", "k1"), ("default/t2", "k1"), ("other/t1", "k1"), ("default/t1", "K1")]
    for number, (scope, key) in enumerate(claimed):
        known = await server_keys.claim(scope, key, f"f{number}", f"s{number}")
        assert known.seed == f"s{number}"


@pytest.mark.parametrize("key", ["a.b", "*", ">", "a b", "$JS.API", "~" * 255, "é"])
async def test_a_key_may_be_anything(server_keys: Keys, key: str) -> None:
    await server_keys.claim("*/t1", key, "f1", "s1")
    assert (await server_keys.claim("*/t1", key, "f1", "s2")).seed == "s1"


def test_keys_are_kept_for_a_day_one_message_each() -> None:
    config = stream_config(KeyNames("x"), replicas=3)
    assert (config.max_age, config.max_msgs_per_subject, config.num_replicas) == (DAY, 1, 3)


async def test_a_claim_waits_for_a_stream_that_nobody_leads_yet(
    nats_url: str, stream_prefix: str
) -> None:
    names = KeyNames(stream_prefix)
    async with logs.connected([nats_url]) as client, asyncio.TaskGroup() as tasks:
        keys = Keys(client, names, PATIENCE)
        claimed = tasks.create_task(keys.claim("default/t1", "k1", "f1", "s1"))
        await asyncio.sleep(0)
        await client.flush()  # the server has seen it, and had nobody to give it to
        await logs.add_stream(client, stream_config(names, replicas=1))
        assert await claimed == Remembered("f1", "s1")


async def test_keys_survive_their_server(private_nats: Callable[[], Awaitable[Server]]) -> None:
    server = await private_nats()
    async with logs.connected([server.url]) as client:
        keys = await made(client, "t")
        await keys.claim("default/t1", "k1", "f1", "s1")
        await keys.answer("default/t1", "k1", DONE)
        server.kill()
        await server.start()
        again = Keys(client, KeyNames("t"), LITTLE)

        async def remembered() -> bool:
            try:
                return (await again.claim("default/t1", "k1", "f1", "s2")).answer == DONE
            except LogUnavailable:
                return False

        await eventually(remembered)


async def test_without_nats_no_key_is_claimed_and_that_is_said_soon(
    nats_url: str, stream_prefix: str
) -> None:
    async with proxy(nats_url) as between, logs.connected([between.url]) as client:
        await (await made(client, stream_prefix)).claim("default/t1", "k1", "f1", "s1")
        keys = Keys(client, KeyNames(stream_prefix), LITTLE)
        await between.down()
        asked = client.stats["out_msgs"]
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(LogUnavailable):
                await keys.claim("default/t1", "k2", "f1", "s1")
            with pytest.raises(LogUnavailable):
                await keys.answer("default/t1", "k1", DONE)
        assert client.stats["out_msgs"] == asked + 2  # each asked once, and waited no longer
        await between.up()


class Unsure(Keys):
    """Keys whose replicas take long to agree on what was claimed."""

    looks = 100

    async def _get(self, subject: str) -> tuple[int, Remembered | None]:
        self.looks -= 1
        return (0, None) if self.looks > 0 else await super()._get(subject)


async def test_another_claim_is_waited_for_while_replicas_agree_on_it(
    nats_url: str, stream_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "PAUSE", 0)
    async with logs.connected([nats_url]) as client:
        await (await made(client, stream_prefix)).claim("default/t1", "k1", "f1", "s1")
        names = KeyNames(stream_prefix)
        unsure = Unsure(client, names, PATIENCE)
        assert (await unsure.claim("default/t1", "k1", "f1", "s2")).seed == "s1"
        with pytest.raises(LogUnavailable):
            await Unsure(client, names, 0.0).claim("default/t1", "k1", "f1", "s2")
