"""Requests about slots: a slot relies on weights before they serve, and lets go after."""

import msgspec
import pytest

from commands.activating import Activations
from commands.cataloging import Catalog
from schemas.checks import Capacity, Check, Holder
from schemas.job import InstallSpec
from schemas.manifest import Manifest
from schemas.message import Command
from schemas.model import DeleteModel
from schemas.runtime import (
    ActivateModel,
    ActivationFailed,
    DeactivateSlot,
    PromoteCandidate,
    RollBack,
    ScaleSlot,
    SlotState,
    Strategy,
)
from schemas.status import Health, RecordStatus, SlotStatus
from schemas.weights import RecordCorrupted, RecordInstalled, ReferenceWeights, ReserveWeights
from tests.commands.serving import A1, A2, A3, J1, S, World, interrupted, manifest, refused, wish
from tests.contract.logs import context

ONE, TWO = "org/one", "org/two"


async def test_a_slot_relies_on_the_weights_before_the_model_is_activated(serving: World) -> None:
    await serving.has("one")
    end = await serving.log.end()

    outcome = await serving.activations.activate(wish(A1, "one"), context("c1"))

    assert await serving.types(end) == ["weights.referenced", "model.activation.requested"]
    assert outcome.position == await serving.log.end()
    flight = (await serving.slot()).flight
    assert flight is not None
    found = await serving.finder.find("default", "one")
    served = flight.served
    assert (served.id, served.model, served.target, served.store) == (A1, "one", ONE, "s1")
    assert (served.manifest, served.version) == (found.manifest, found.version)
    assert await serving.users(ONE) == {"model/one", "slot/main/one"}


async def test_the_same_request_twice_is_one_request(serving: World) -> None:
    await serving.has("one")
    first = await serving.activations.activate(wish(A1, "one"), context("c1"))
    await serving.fails()
    again = await serving.activations.activate(wish(A1, "one"), context("c1"))
    assert again.commit == first.commit
    assert await serving.users(ONE) == {"model/one"}


async def test_a_model_is_activated_by_an_alias(serving: World) -> None:
    await serving.install(ONE)
    await serving.catalog.apply(manifest("one", aliases=("chat",)), context("c1"))
    await serving.activate(A1, "chat")
    flight = (await serving.slot()).flight
    assert flight is not None
    assert flight.served.model == "one"


async def test_a_model_that_is_not_there_is_not_activated(serving: World) -> None:
    with refused("not_found"):
        await serving.activate(A1, "one")


async def test_a_model_without_its_weights_is_not_activated(serving: World) -> None:
    await serving.catalog.apply(manifest("one"), context("c1"))
    with refused("weights_not_installed", target=ONE):
        await serving.activate(A1, "one")
    source = msgspec.structs.replace(manifest("one").weights, repo="o/r", revision="v2")
    await serving.catalog.apply(Manifest("one", source), context("c2"))
    brings = "mllm weights install o/r --revision v2 --target org/one"
    with refused("weights_not_installed", remedy=brings):
        await serving.activate(A1, "one")


async def test_weights_that_are_not_what_was_installed_do_not_serve(serving: World) -> None:
    await serving.has("one")
    await serving.says(RecordCorrupted(ONE, J1, ("a.bin",)))
    with refused("weights_corrupted", files=("a.bin",)):
        await serving.activate(A1, "one")
    assert await serving.users(ONE) == {"model/one"}


async def test_weights_that_are_being_replaced_do_not_serve(serving: World) -> None:
    await serving.has("one")
    spec = InstallSpec(ONE, "main", "c0ffee", "k2", 1, 1, overwrite=True)
    await serving.says(ReserveWeights(ONE, J1, "k2", "s1", 1, spec))
    end = await serving.log.end()
    with refused("conflict", job=J1):
        await serving.activate(A1, "one")
    assert await serving.log.end() == end


async def test_a_model_registered_before_its_weights_came_is_activated(serving: World) -> None:
    await serving.catalog.apply(manifest("one"), context("c1"))
    await serving.install(ONE)
    await serving.activate(A1, "one")
    assert await serving.users(ONE) == {"model/one", "slot/main/one"}


async def test_what_serves_or_is_about_to_is_not_activated_again(serving: World) -> None:
    await serving.has("one")
    await serving.activate(A1, "one")
    end = await serving.log.end()
    assert (await serving.activate(A2, "one")).commit is None
    assert await serving.log.end() == end
    await serving.completes()
    end = await serving.log.end()
    assert (await serving.activate(A2, "one")).commit is None
    assert await serving.log.end() == end


async def test_an_activation_in_the_way_is_named_and_nothing_is_relied_on_in_vain(
    serving: World,
) -> None:
    await serving.has("one", "two")
    await serving.activate(A1, "one")
    with refused("conflict", activation=A1, model="one", by="ada", phase="requested"):
        await serving.activate(A2, "two")
    assert await serving.users(TWO) == {"model/two"}


async def test_what_was_relied_on_in_vain_is_let_go(serving: World) -> None:
    """Somebody else's activation is granted after this one has looked."""
    await serving.has("one", "two")

    async def overtaken(command: Command) -> None:
        if isinstance(command, ActivateModel):
            await serving.activate(A1, "one")

    late = Activations(serving.log, interrupted(serving, overtaken))
    with refused("conflict", activation=A1):
        await late.activate(wish(A2, "two"), context("c1"))
    assert await serving.users(TWO) == {"model/two"}
    assert await serving.users(ONE) == {"model/one", "slot/main/one"}


async def test_a_model_that_is_deleted_meanwhile_is_not_activated(serving: World) -> None:
    await serving.has("one")

    async def deleted(command: Command) -> None:
        if isinstance(command, ReferenceWeights):
            await serving.catalog.delete("one", context("delete"))

    late = Activations(serving.log, interrupted(serving, deleted))
    with refused("not_found"):
        await late.activate(wish(A1, "one"), context("c1"))
    assert (await serving.slot()).flight is None
    assert await serving.users(ONE) == set()


async def test_an_activation_that_slips_into_a_deletion_fails(serving: World) -> None:
    """The model has let go of its weights and is not deleted yet when a slot asks for it."""
    await serving.has("one")

    async def activated(command: Command) -> None:
        if isinstance(command, DeleteModel):
            await serving.activate(A1, "one")

    await Catalog(serving.log, interrupted(serving, activated), serving.log).delete(
        "one", context("c1")
    )

    assert "model.activation.failed" in await serving.types()
    assert await serving.slot() == SlotState(S, leaving=(await serving.slot()).leaving)
    assert await serving.users(ONE) == set()


async def test_a_deletion_that_slips_into_an_activation_ends_it(serving: World) -> None:
    """Whoever deletes has dropped the slot's reference, as nothing had been activated yet."""
    await serving.has("one")

    async def deleted(command: Command) -> None:
        if isinstance(command, ActivateModel):
            await serving.mending.target(ONE, serving.now())
            await serving.catalog.delete("one", context("delete"))

    late = Activations(serving.log, interrupted(serving, deleted))
    with refused("not_found"):
        await late.activate(wish(A1, "one"), context("c1"))
    assert (await serving.slot()).flight is None
    assert await serving.users(ONE) == set()


async def test_a_reference_that_is_dropped_meanwhile_is_taken_again(serving: World) -> None:
    await serving.has("one")

    async def mended(command: Command) -> None:
        if isinstance(command, ActivateModel):
            await serving.mending.all(serving.now())
            assert await serving.users(ONE) == {"model/one"}

    late = Activations(serving.log, interrupted(serving, mended))
    await late.activate(wish(A1, "one"), context("c1"))
    assert await serving.users(ONE) == {"model/one", "slot/main/one"}


async def test_a_slot_lets_go_of_what_has_left_it(serving: World) -> None:
    await serving.has("one", "two")
    await serving.serves(A1, "one")
    await serving.serves(A2, "two", "blue-green")
    assert await serving.users(ONE) == {"model/one"}
    assert await serving.users(TWO) == {"model/two", "slot/main/two"}
    await serving.says(DeactivateSlot(S, A3, "ada"))
    await serving.leaves()
    assert await serving.users(TWO) == {"model/two"}


async def test_a_slot_lets_go_of_a_candidate_that_failed(serving: World) -> None:
    await serving.has("one", "two")
    await serving.serves(A1, "one")
    await serving.activate(A2, "two")
    await serving.fails()
    assert await serving.users(ONE) == {"model/one", "slot/main/one"}
    assert await serving.users(TWO) == {"model/two"}


async def test_a_slot_does_not_let_go_of_what_it_may_have_to_bring_back(serving: World) -> None:
    await serving.has("one", "two")
    await serving.serves(A1, "one")
    one = (await serving.slot()).current
    assert one is not None
    await serving.activate(A2, "two", "blue-green")
    await serving.enters("start", "switch", "drain")
    await serving.releases(one)
    assert "slot/main/one" in await serving.users(ONE)
    await serving.enters("remove")
    await serving.releases(one)
    assert await serving.users(ONE) == {"model/one"}


async def test_another_version_of_the_same_model_relies_on_the_same_weights(
    serving: World,
) -> None:
    await serving.has("one")
    await serving.serves(A1, "one")
    await serving.catalog.apply(manifest("one", description="Another."), context("c1"))
    await serving.serves(A2, "one", "blue-green")
    current = (await serving.slot()).current
    assert current is not None
    assert current.manifest.description == "Another."
    assert await serving.users(ONE) == {"model/one", "slot/main/one"}


async def test_a_model_serves_in_several_slots(serving: World) -> None:
    await serving.has("one")
    await serving.serves(A1, "one")
    await serving.serves(A2, "one", slot="side")
    await serving.says(DeactivateSlot(S, A3, "ada"))
    await serving.leaves()
    with refused("conflict", slots=["side"]):
        await serving.catalog.delete("one", context("c1"))


async def back(world: World, id: str = A3) -> None:
    await world.activations.roll_back(RollBack(S, id, "bob"), world.now())


async def test_going_back_relies_on_the_weights_first(serving: World) -> None:
    await serving.has("one", "two")
    await serving.serves(A1, "one")
    await serving.serves(A2, "two")
    end = await serving.log.end()
    await back(serving)
    assert await serving.types(end) == ["weights.referenced", "model.activation.requested"]
    await serving.completes()
    assert await serving.users(ONE) == {"model/one", "slot/main/one"}
    assert await serving.users(TWO) == {"model/two"}


async def test_going_back_to_the_former_weights_of_the_same_model(serving: World) -> None:
    await serving.has("one")
    await serving.serves(A1, "one")
    await serving.install(TWO)
    await serving.catalog.apply(manifest("one", TWO), context("c1"))
    await serving.serves(A2, "one")
    assert await serving.users(ONE) == set()
    await back(serving)
    assert await serving.users(ONE) == {"model/one", "slot/main/one"}
    with refused("conflict"):
        await serving.catalog.delete("one", context("c2"))
    await serving.completes()
    assert await serving.users(TWO) == {"model/one"}


async def test_nobody_goes_back_to_a_model_or_to_weights_that_are_gone(serving: World) -> None:
    await serving.has("one", "two")
    await serving.serves(A1, "one")
    await serving.serves(A2, "two")
    await serving.catalog.delete("one", context("c1"))
    end = await serving.log.end()
    with refused("not_found"):
        await back(serving)
    await serving.remove(ONE)
    with refused("weights_not_installed", target=ONE):
        await back(serving)
    assert (await serving.slot()).flight is None
    assert "model.activation.requested" not in await serving.types(end)


async def test_nobody_goes_back_to_weights_that_are_kept_elsewhere_by_now(serving: World) -> None:
    await serving.has("one", "two")
    await serving.serves(A1, "one")
    await serving.serves(A2, "two")
    spec = InstallSpec(ONE, "main", "c0ffee", "k2", 1, 1, overwrite=True)
    await serving.says(ReserveWeights(ONE, J1, "k2", "s2", 1, spec))
    await serving.says(RecordInstalled(ONE, J1, "k2", 1, 1, 1, ()))
    with refused("conflict"):
        await back(serving)


async def test_giving_up_an_activation_says_how_long_it_took(serving: World) -> None:
    await serving.has("one", "two")
    await serving.serves(A1, "one")
    await serving.activate(A2, "two")
    await serving.enters("start")
    outcome = await serving.activations.roll_back(RollBack(S, A3, "bob"), serving.now())
    assert outcome.commit is not None
    assert outcome.commit.types == ("model.activation.failed", "model.activation.rolledback")
    failed = outcome.commit.events[0]
    assert isinstance(failed, ActivationFailed)
    assert failed.phases[0].ms > 1000
    again = await serving.activations.roll_back(
        RollBack(S, A3, "bob"), context(outcome.commit.command)
    )
    assert again.commit == outcome.commit


async def test_giving_up_after_the_switch_relies_on_what_comes_back(serving: World) -> None:
    await serving.has("one", "two")
    await serving.serves(A1, "one")
    one = (await serving.slot()).current
    assert one is not None
    await serving.activate(A2, "two")
    await serving.enters("start", "switch", "remove")
    await serving.releases(one)
    await back(serving)
    assert (await serving.slot()).current == one
    assert await serving.users(ONE) == {"model/one", "slot/main/one"}


async def test_there_may_be_nothing_to_go_back_to(serving: World) -> None:
    with refused("nothing_to_roll_back"):
        await back(serving)


async def test_the_rest_is_decided_by_the_slot(serving: World) -> None:
    await serving.has("one")
    asked = serving.activations
    await asked.activate(wish(A1, "one", hold=True), context("c1"))
    with refused("not_ready"):
        await asked.promote(PromoteCandidate(S, "one", "ada"), context("c2"))
    await serving.enters("start", "ready")
    await asked.promote(PromoteCandidate(S, "one", "ada"), context("c3"))
    await serving.completes()
    with refused("invalid"):
        await asked.scale(ScaleSlot(S, 2, 1, "ada"), context("c4"))
    outcome = await asked.deactivate(DeactivateSlot(S, A2, "ada"), context("c5"))
    assert outcome.commit is not None


class Inspected:
    """An inspector that finds what a test gives it; `alone`, with a slot counted as gone."""

    def __init__(self, capacity: Capacity, *checks: Check, alone: Capacity | None = None) -> None:
        self._capacity = capacity
        self._alone = alone or capacity
        self._checks = checks
        self.rooms: list[str] = []

    async def check(
        self, manifest: Manifest, namespace: str, *, slot: str = ""
    ) -> tuple[Check, ...]:
        self.rooms.append(slot)
        return self._checks

    async def capacity(self, manifest: Manifest, namespace: str, *, slot: str = "") -> Capacity:
        self.rooms.append(slot)
        return self._alone if slot else self._capacity


PASSED = Check("schema", "pass", "it is a manifest")
FAILED = Check("secrets", "fail", "secret hub is missing", "mllm secrets set hub")


def inspected(world: World, inspector: Inspected) -> Activations:
    return Activations(world.log, world.dispatch, inspector)


async def test_a_model_that_can_not_serve_is_refused_with_every_check(serving: World) -> None:
    await serving.has("one")
    asked = inspected(serving, Inspected(Capacity(0, 0, 0), PASSED, FAILED))
    checks = msgspec.to_builtins((PASSED, FAILED))
    with refused("invalid_model", checks=checks, remedy="mllm secrets set hub"):
        await asked.activate(wish(A1, "one"), context("c1"))
    assert await serving.users(ONE) == {"model/one"}


async def test_a_model_that_finds_no_gpus_is_told_who_has_them(serving: World) -> None:
    await serving.has("one")
    capacity = Capacity(2, 1, 4, (Holder("slot side", 3, "side", "llama"),))
    asked = inspected(serving, Inspected(capacity, PASSED))
    holders = msgspec.to_builtins(capacity.holders)
    with refused("no_capacity", wanted=2, free=1, total=4, holders=holders):
        await asked.activate(wish(A1, "one"), context("c1"))


async def test_a_slot_relies_on_what_it_brings_back_from_nothing(serving: World) -> None:
    await serving.has("one")
    await serving.serves(A1, "one")
    await serving.says(ScaleSlot(S, 0, 1, "ada"))
    await serving.serves(A2, "one")

    current = (await serving.slot()).current
    assert current is not None
    assert current.id == A2
    assert await serving.users(ONE) == {"model/one", "slot/main/one"}


PREEMPT = (
    "free them, ask for fewer in `resources.gpus`, or take the place of what is in main:"
    " mllm runtime activate one --slot main --preempt"
)
OTHERWISE = "free them, or ask for fewer in `resources.gpus`"


@pytest.mark.parametrize(
    ("strategy", "preempt", "free_alone", "remedy"),
    [
        ("blue-green", False, 2, PREEMPT),
        ("blue-green", False, 1, OTHERWISE),
        ("blue-green", True, 1, OTHERWISE),
        ("direct", False, 1, OTHERWISE),
    ],
)
async def test_preempting_is_offered_only_where_it_would_make_room_enough(
    serving: World, strategy: Strategy, preempt: bool, free_alone: int, remedy: str
) -> None:
    await serving.has("one")
    asked = inspected(
        serving, Inspected(Capacity(2, 0, 2), PASSED, alone=Capacity(2, free_alone, 2))
    )
    with refused("no_capacity", remedy=remedy):
        await asked.activate(wish(A1, "one", strategy, preempt=preempt), context("c1"))


@pytest.mark.parametrize(
    ("strategy", "preempt", "free", "rooms"),
    [
        ("direct", False, 1, (S, S)),
        ("blue-green", False, 1, ("", "")),
        ("blue-green", True, 0, ("", S, S)),
        ("blue-green", True, 1, ("", "", "")),  # there is room enough: nobody has to make any
    ],
)
async def test_what_serves_makes_room_unless_the_candidate_fits_beside_it(
    serving: World, strategy: Strategy, preempt: bool, free: int, rooms: tuple[str, ...]
) -> None:
    await serving.has("one")
    inspector = Inspected(Capacity(1, free, 1), PASSED, alone=Capacity(1, 1, 1))
    wanted = wish(A1, "one", strategy, preempt=preempt)

    await inspected(serving, inspector).activate(wanted, context("c1"))

    assert inspector.rooms == [*rooms]
    flight = (await serving.slot()).flight
    assert flight is not None
    assert flight.preempt == (preempt and free == 0)
    again = msgspec.structs.replace(wanted, activation=A2)
    await inspected(serving, inspector).activate(again, context("again"))
    assert inspector.rooms == [*rooms], "what is about to serve is not inspected again"


@pytest.mark.parametrize(
    ("health", "activation", "anew"),
    [
        ("absent", A1, True),
        ("failed", A1, True),
        ("failed", A3, False),  # said of one that served before
        ("loading", A1, False),
        ("ready", A1, False),
    ],
)
async def test_what_serves_is_activated_anew_once_it_was_seen_to_be_gone(
    serving: World, health: Health, activation: str, anew: bool
) -> None:
    await serving.has("one")
    await serving.serves(A1, "one")
    await serving.says(RecordStatus(S, SlotStatus(health, "one", activation)))

    outcome = await serving.activate(A2, "one")

    assert (outcome.commit is not None) == anew
