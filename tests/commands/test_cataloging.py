"""Requests about models: their weights are asked first, and aliases follow."""

import pytest

from commands import alias as aliases
from commands.cataloging import Catalog
from schemas.alias import SetAlias
from schemas.job import InstallSpec
from schemas.log import LogUnavailable, Stream
from schemas.manifest import EnvVar, Manifest
from schemas.message import Command
from schemas.model import RegisterModel
from schemas.names import name_id
from schemas.runtime import DeactivateSlot
from schemas.weights import RecordInstalled, ReserveWeights
from tests.commands.serving import A1, A2, J1, S, World, interrupted, manifest, refused
from tests.contract.logs import context

T = "org/qwen"


async def meaning(world: World, alias: str) -> str:
    history = await world.log.load(Stream("default", "alias", name_id(alias)))
    return aliases.decider.state(history).model


async def test_a_model_relies_on_its_weights_before_it_is_registered(serving: World) -> None:
    await serving.install(T)
    end = await serving.log.end()

    change = await serving.catalog.apply(manifest("qwen", aliases=("chat",)), context("c1"))

    assert await serving.types(end) == ["weights.referenced", "model.registered", "model.alias.set"]
    assert (change.created, change.changed) == (True, True)
    assert change.position == await serving.log.end()
    assert await serving.users(T) == {"model/qwen"}


async def test_the_same_manifest_again_changes_nothing(serving: World) -> None:
    await serving.has("qwen")
    end = await serving.log.end()
    change = await serving.catalog.apply(manifest("qwen"), context("c1"))
    assert (change.created, change.changed, change.outcome.commit) == (False, False, None)
    assert await serving.log.end() == end


async def test_another_manifest_is_the_next_version(serving: World) -> None:
    await serving.has("qwen")
    change = await serving.catalog.apply(manifest("qwen", description="Another."), context("c1"))
    assert (change.created, change.changed) == (False, True)
    found = await serving.finder.find("default", "qwen")
    assert found.manifest.description == "Another."
    assert found.version == change.outcome.position


async def test_the_same_request_twice_is_one_request(serving: World) -> None:
    await serving.install(T)
    wanted = manifest("qwen", aliases=("chat",))
    first = await serving.catalog.apply(wanted, context("c1"))
    end = await serving.log.end()
    again = await serving.catalog.apply(wanted, context("c1"))
    assert (again.created, again.changed) == (True, True)
    assert again.outcome.commit == first.outcome.commit
    assert await serving.log.end() == end


async def test_a_model_may_come_before_its_weights(serving: World) -> None:
    await serving.catalog.apply(manifest("qwen"), context("c1"))
    assert await serving.types() == ["model.registered"]


async def test_a_model_that_moves_to_other_weights_lets_go_of_the_former(serving: World) -> None:
    await serving.has("qwen")
    await serving.install("org/other")
    await serving.catalog.apply(manifest("qwen", "org/other"), context("c1"))
    assert await serving.users(T) == set()
    assert await serving.users("org/other") == {"model/qwen"}


async def test_a_slot_keeps_the_former_weights_until_it_lets_go(serving: World) -> None:
    await serving.has("qwen")
    await serving.serves(A1, "qwen")
    await serving.install("org/other")
    await serving.catalog.apply(manifest("qwen", "org/other"), context("c1"))
    assert await serving.users(T) == {"model/qwen", "slot/main/qwen"}

    await serving.serves(A2, "qwen")

    assert await serving.users(T) == set()
    assert await serving.users("org/other") == {"model/qwen", "slot/main/qwen"}


async def test_a_manifest_that_is_refused_leaves_nothing_behind(serving: World) -> None:
    await serving.install(T)
    env = tuple(EnvVar(f"V{n}", "x" * 4000) for n in range(50))
    huge = Manifest("qwen", manifest("qwen").weights, env=env)
    with refused("too_large"):
        await serving.catalog.apply(huge, context("c1"))
    assert await serving.users(T) == set()


async def test_weights_that_are_being_deleted_are_not_relied_on(serving: World) -> None:
    await serving.install(T)
    deleting = await serving.deleting(T)
    with refused("conflict", job=deleting):
        await serving.catalog.apply(manifest("qwen"), context("c1"))


async def test_weights_that_are_being_replaced_may_be_relied_on(serving: World) -> None:
    await serving.install(T)
    spec = InstallSpec(T, "main", "c0ffee", "k2", 1, 1, overwrite=True)
    await serving.says(ReserveWeights(T, J1, "k2", "s1", 1, spec))
    await serving.catalog.apply(manifest("qwen"), context("c1"))
    await serving.says(RecordInstalled(T, J1, "k2", 1, 1, 1, ()))
    assert await serving.users(T) == {"model/qwen"}


async def test_aliases_follow_the_manifest(serving: World) -> None:
    await serving.catalog.apply(manifest("qwen", aliases=("chat", "best")), context("c1"))
    await serving.catalog.apply(manifest("llama", aliases=("best",)), context("c2"))
    assert await meaning(serving, "chat") == "qwen"
    assert await meaning(serving, "best") == "llama"

    await serving.catalog.apply(manifest("qwen"), context("c3"))

    assert await meaning(serving, "chat") == ""
    assert await meaning(serving, "best") == "llama"


async def test_a_name_means_one_thing(serving: World) -> None:
    await serving.catalog.apply(manifest("qwen", aliases=("chat", "qwen")), context("c1"))
    with refused("conflict", model="qwen"):
        await serving.catalog.apply(manifest("llama", aliases=("qwen",)), context("c2"))
    with refused("conflict", model="qwen"):
        await serving.catalog.apply(manifest("chat"), context("c3"))
    with refused("conflict", model="qwen"):
        await serving.catalog.alias("qwen", "qwen", context("c4"))


async def test_a_model_is_found_by_its_id_or_by_an_alias(serving: World) -> None:
    await serving.catalog.apply(manifest("qwen"), context("c1"))
    await serving.catalog.alias("chat", "qwen", context("c2"))
    by_id = await serving.finder.find("default", "qwen")
    assert by_id == await serving.finder.find("default", "chat")
    assert (by_id.manifest, by_id.version) == (manifest("qwen"), 1)
    for namespace, name in (("default", "best"), ("other", "qwen")):
        with refused("not_found"):
            await serving.finder.find(namespace, name)


async def test_a_model_takes_every_alias_along_whoever_set_it(serving: World) -> None:
    await serving.catalog.apply(manifest("qwen", aliases=("chat",)), context("c1"))
    await serving.catalog.apply(manifest("llama"), context("c2"))
    for alias, model in (("hand", "qwen"), ("best", "llama")):
        await serving.catalog.alias(alias, model, serving.now())

    await serving.catalog.delete("qwen", context("c3"))

    assert [await meaning(serving, alias) for alias in ("chat", "hand", "best")] == [
        "",
        "",
        "llama",
    ]
    await serving.catalog.apply(manifest("hand"), context("c4"))


@pytest.mark.parametrize("by_hand", [True, False])
async def test_a_deletion_that_slips_in_before_an_alias_is_set_takes_it_along(
    serving: World, by_hand: bool
) -> None:
    await serving.catalog.apply(manifest("qwen"), context("c1"))

    async def deleted(command: Command) -> None:
        if isinstance(command, SetAlias) and command.model:
            await serving.catalog.delete("qwen", context("delete"))

    late = Catalog(serving.log, interrupted(serving, deleted), serving.log)
    if by_hand:
        await late.alias("hand", "qwen", context("c2"))
    else:
        await late.apply(manifest("qwen", aliases=("hand",)), context("c2"))

    assert await meaning(serving, "hand") == ""


async def test_a_deletion_that_was_cut_short_is_finished_when_it_is_asked_for_again(
    serving: World,
) -> None:
    await serving.catalog.apply(manifest("qwen", aliases=("chat",)), context("c1"))

    async def crashed(command: Command) -> None:
        if isinstance(command, SetAlias):
            raise LogUnavailable("it is away")

    with pytest.raises(LogUnavailable):
        await Catalog(serving.log, interrupted(serving, crashed), serving.log).delete(
            "qwen", context("c2")
        )
    await serving.catalog.delete("qwen", context("c2"))

    assert await meaning(serving, "chat") == ""


async def test_an_alias_that_a_crash_left_of_a_model_that_is_gone_is_nobodys(
    serving: World,
) -> None:
    await serving.says(SetAlias("chat", "qwen"))
    with refused("not_found"):
        await serving.finder.find("default", "chat")

    await serving.catalog.apply(manifest("chat"), context("c1"))

    assert (await serving.finder.find("default", "chat")).manifest == manifest("chat")


async def test_an_alias_that_moves_is_a_change(serving: World) -> None:
    shared = manifest("qwen", aliases=("chat",))
    await serving.catalog.apply(shared, context("c1"))
    assert not (await serving.catalog.apply(shared, context("c2"))).changed
    await serving.catalog.apply(manifest("llama", aliases=("chat",)), context("c3"))

    change = await serving.catalog.apply(shared, context("c4"))

    assert (change.created, change.changed, change.outcome.commit) == (False, True, None)
    assert change.position == await serving.log.end()


async def test_an_alias_is_set_once_and_cleared_once(serving: World) -> None:
    await serving.catalog.apply(manifest("qwen"), context("c1"))
    first = await serving.catalog.alias("chat", "qwen", context("c2"))
    assert first.commit is not None
    assert (await serving.catalog.alias("chat", "qwen", context("c3"))).commit is None
    cleared = await serving.catalog.alias("chat", None, context("c4"))
    assert cleared.commit is not None
    with refused("not_found"):
        await serving.catalog.alias("chat", None, context("c5"))
    with refused("not_found"):
        await serving.catalog.alias("chat", "llama", context("c6"))


async def test_what_is_foreseen_is_what_happens_and_nothing_of_it_does(serving: World) -> None:
    await serving.install(T)
    wanted = manifest("qwen", aliases=("chat",))
    end = await serving.log.end()

    foreseen = await serving.catalog.foresee(wanted, context("c1"))

    assert await serving.log.end() == end
    change = await serving.catalog.apply(wanted, context("c2"))
    assert (foreseen.created, foreseen.changed) == (change.created, change.changed) == (True, True)
    await serving.catalog.apply(manifest("llama", aliases=("chat",)), context("c3"))
    taken_back = await serving.catalog.foresee(wanted, context("c4"))
    assert (taken_back.created, taken_back.changed) == (False, True)
    await serving.catalog.alias("chat", "qwen", context("c5"))
    assert not (await serving.catalog.foresee(wanted, context("c6"))).changed


async def test_weights_that_are_being_deleted_are_foreseen_to_refuse(serving: World) -> None:
    await serving.install(T)
    await serving.deleting(T)
    with refused("conflict"):
        await serving.catalog.foresee(manifest("qwen"), context("c1"))


async def test_a_model_is_deleted_with_its_aliases_and_lets_go_of_its_weights(
    serving: World,
) -> None:
    await serving.install(T)
    await serving.catalog.apply(manifest("qwen", aliases=("chat",)), context("c1"))
    end = await serving.log.end()

    first = await serving.catalog.delete("qwen", context("c2"))

    assert await serving.types(end) == ["weights.unreferenced", "model.deleted", "model.alias.set"]
    again = await serving.catalog.delete("qwen", context("c2"))
    assert again.commit == first.commit
    with refused("not_found"):
        await serving.catalog.delete("qwen", context("c3"))
    await serving.remove(T)


async def test_a_model_that_is_active_or_about_to_be_is_not_deleted(serving: World) -> None:
    await serving.has("qwen")
    await serving.activate(A1, "qwen")
    with refused("conflict", model="qwen", slots=[S]):
        await serving.catalog.delete("qwen", context("c1"))
    await serving.completes()
    with refused("conflict", model="qwen", slots=[S]):
        await serving.catalog.delete("qwen", context("c2"))
    await serving.says(DeactivateSlot(S, A2, "ada"))
    await serving.leaves()
    await serving.catalog.delete("qwen", context("c3"))


async def test_a_model_that_is_active_on_former_weights_is_not_deleted(serving: World) -> None:
    await serving.has("qwen")
    await serving.serves(A1, "qwen")
    await serving.install("org/other")
    await serving.catalog.apply(manifest("qwen", "org/other"), context("c1"))
    with refused("conflict", slots=[S]):
        await serving.catalog.delete("qwen", context("c2"))
    assert await serving.users("org/other") == {"model/qwen"}


@pytest.mark.parametrize("model", ["qwen", "llama"])
async def test_weights_are_kept_for_whoever_relies_on_them(serving: World, model: str) -> None:
    await serving.install(T)
    for name in ("qwen", "llama"):
        await serving.catalog.apply(manifest(name, T), serving.now())
    await serving.catalog.delete(model, context("c1"))
    with refused("conflict"):
        await serving.remove(T)


async def test_a_model_that_a_crash_left_without_its_weights_is_deleted_all_the_same(
    serving: World,
) -> None:
    await serving.install(T)
    await serving.says(RegisterModel(manifest("qwen")))
    await serving.catalog.delete("qwen", context("c1"))
    with refused("not_found"):
        await serving.finder.find("default", "qwen")
