"""An object that others have their part in: fields, lists, and a say in when it is gone.

Which lists have keys is KServe's release's to say, so what depends
on that is asked of our own server alone; a real one, with a CRD that has them, answered the same.
"""

import msgspec
import pytest

from processors.driver import Instance
from processors.kserve.cluster import Object
from processors.kserve.kinds import INFERENCE_SERVICES
from processors.kserve.refusals import ClusterError
from processors.kserve.service import inference_service
from schemas.manifest import EnvVar, Manifest, Volume
from tests.kube.conftest import OwnWorld, World
from tests.kube.instances import SLOT, instance, manifest, object_name, present
from tests.kube.plain import Json

SCRATCH = Volume(name="scratch", mount_path="/scratch")
WANTED = manifest(
    env=(EnvVar("A", "1"), EnvVar("B", "2")), volumes=(SCRATCH,), node_selector={"zone": "one"}
)
HOLD = "example.com/hold"


def holding(said: Manifest = WANTED) -> Instance:
    """A new activation of the manifest."""
    wanted = instance()
    return msgspec.structs.replace(
        wanted, served=msgspec.structs.replace(wanted.served, manifest=said)
    )


async def predictor(world: World) -> Json:
    said = await world.hand.get(SLOT)
    assert said is not None
    found: Json = said["spec"]["predictor"]
    return found


def theirs(**more: object) -> Json:
    """Somebody else's part of our object."""
    wanted = inference_service(instance(), INFERENCE_SERVICES)
    model = wanted["spec"]["predictor"]["model"]
    own = {"modelFormat": model["modelFormat"], "storageUri": model["storageUri"]}
    within = more.pop("model", {})
    assert isinstance(within, dict)
    return {
        **{key: wanted[key] for key in ("apiVersion", "kind")},
        "metadata": {"name": SLOT},
        "spec": {"predictor": {"model": {**own, **within}, **more}},
    }


async def test_entries_that_others_add_to_a_list_with_keys_survive(own: OwnWorld) -> None:
    await own.driver.ensure(holding())
    added = theirs(model={"env": [{"name": "THEIRS", "value": "kept"}]})
    status, said = await own.hand.apply("somebody", added)
    assert status == 200, said
    fewer = msgspec.structs.replace(WANTED, env=(EnvVar("A", "3"),))

    await own.driver.ensure(holding(fewer))

    said = (await predictor(own))["model"]["env"]
    assert {one["name"]: one["value"] for one in said} == {"A": "3", "THEIRS": "kept"}


async def test_a_list_without_keys_can_only_be_somebodys_as_a_whole(world: World) -> None:
    await world.driver.ensure(holding())
    volume: Object = {"name": "theirs", "emptyDir": {}}

    status, said = await world.hand.apply("somebody", theirs(volumes=[volume]))

    assert status == 409
    [cause] = said["details"]["causes"]
    assert cause["field"] == ".spec.predictor.volumes"


async def test_a_conflict_names_entries_by_their_key(own: OwnWorld) -> None:
    await own.driver.ensure(holding())
    added: Object = {
        "nodeSelector": {"disk": "fast"},
        "volumes": [{"name": "theirs", "emptyDir": {}}],
        "model": {"env": [{"name": "A", "value": "theirs"}]},
    }

    status, said = await own.hand.apply("somebody", theirs(**added))

    fields = ["nodeSelector", "volumes", 'model.env[name="A"].value']
    lines = "".join(f"\n- .spec.predictor.{field}" for field in fields)
    assert status == 409
    assert said["message"] == f'Apply failed with 3 conflicts: conflicts with "mllm":{lines}'


async def test_a_selector_that_somebody_adds_to_is_drift_and_put_right(own: OwnWorld) -> None:
    wanted = holding()
    await own.driver.ensure(wanted)
    await own.hand.patch(SLOT, {"spec": {"predictor": {"nodeSelector": {"disk": "fast"}}}})

    sight = await own.driver.ensure(wanted)

    assert sight.drift == ("spec.predictor.nodeSelector.disk",)
    assert (await predictor(own))["nodeSelector"] == {"zone": "one"}


async def test_who_edited_is_named_when_we_do_not_insist(world: World) -> None:
    wanted = inference_service(holding(), INFERENCE_SERVICES)
    await world.cluster.apply(INFERENCE_SERVICES, wanted)
    await world.hand.patch(SLOT, {"spec": {"predictor": {"volumes": []}}})

    with pytest.raises(ClusterError) as refused:
        await world.cluster.apply(INFERENCE_SERVICES, wanted)

    assert refused.value.fields == (".spec.predictor.volumes",)
    assert '"somebody" using serving.kserve.io/v1beta1' in str(refused.value)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"resources": {"limits": {"memory": "16 gigabytes"}}}, "limits.memory"),
        ({"args": "--one"}, "predictor.model.args"),
        ({"storageUri": 1}, "predictor.model.storageUri"),
    ],
)
async def test_what_the_schema_does_not_allow_is_invalid(
    world: World, model: Json, words: str
) -> None:
    wanted = inference_service(instance(), INFERENCE_SERVICES)
    wanted["spec"]["predictor"]["model"] |= model

    with pytest.raises(ClusterError) as refused:
        await world.cluster.apply(INFERENCE_SERVICES, wanted)

    assert refused.value.code == "invalid"
    assert words in str(refused.value)


async def test_an_entry_that_is_there_twice_is_invalid(own: OwnWorld) -> None:
    twice = msgspec.structs.replace(WANTED, env=(EnvVar("A", "1"), EnvVar("A", "2")))

    sight = await own.driver.ensure(holding(twice))

    assert sight.code == "invalid"
    assert 'env: duplicate entries for key [name="A"]' in sight.status.message


async def test_what_is_still_being_deleted_is_waited_for(world: World) -> None:
    old, new = instance("old"), instance("new")
    await world.driver.ensure(old)
    await world.hand.patch(SLOT, {"metadata": {"finalizers": [HOLD]}})

    assert not await world.driver.remove(present(old))
    waiting = await world.driver.ensure(new)
    assert not await world.driver.remove(present(old))
    assert await world.driver.present() == []
    await world.hand.patch(SLOT, {"metadata": {"finalizers": None}})

    assert waiting.status.health == "absent"
    assert waiting.status.message == "what was there is still being deleted"
    assert await world.driver.remove(present(old))
    assert (await world.driver.ensure(new)).status.health == "starting"
    assert await world.driver.present() == [present(new)]


async def test_an_object_that_was_made_anew_is_not_deleted_in_place_of_the_old(
    world: World,
) -> None:
    wanted = instance()
    await world.driver.ensure(wanted)
    old = await world.hand.get(object_name(wanted))
    assert old is not None
    await world.hand.delete(SLOT)
    await world.driver.ensure(wanted)
    meta = old["metadata"]

    with pytest.raises(ClusterError, match="deleted and then recreated") as refused:
        await world.cluster.delete(
            INFERENCE_SERVICES, SLOT, uid=meta["uid"], version=meta["resourceVersion"]
        )

    assert refused.value.code == "conflict"
    assert await world.hand.get(SLOT) is not None


async def test_a_log_that_nobody_has_begun_is_empty(world: World) -> None:
    wanted = instance()
    await world.driver.ensure(wanted)
    await world.hand.pod("waiting", SLOT, wanted.served.id)

    logs = world.workloads.logs("default", "waiting", follow=False, tail=5)

    assert [piece async for piece in logs] == []
