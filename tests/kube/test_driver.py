"""What the driver makes of a cluster, and of everybody else who writes to it."""

from contextlib import aclosing

import msgspec
import pytest

from processors.driver import DriverUnavailable, Instance
from processors.kserve.access import Access
from processors.kserve.cluster import Cluster
from processors.kserve.driver import KServeDriver
from processors.kserve.kinds import INFERENCE_SERVICES, PODS, Kind
from processors.kserve.refusals import ClusterError
from processors.kserve.service import ACTIVATION, MODEL, REVISION, inference_service
from tests.kube.conftest import QUICK, World
from tests.kube.instances import SLOT, instance, manifest, object_name, present
from tests.kube.plain import Json
from tests.support import eventually

UNSERVED = Kind("serving.kserve.io", "v9", "inferenceservices", "InferenceService")


async def found(world: World, name: str = SLOT) -> Json:
    said = await world.hand.get(name)
    assert said is not None
    return said


async def test_an_instance_becomes_an_inference_service(world: World) -> None:
    wanted = instance()

    sight = await world.driver.ensure(wanted)

    said = await found(world)
    notes = said["metadata"]["annotations"]
    assert (notes[MODEL], notes[REVISION], notes[ACTIVATION]) == ("llama", "7", wanted.served.id)
    predictor = said["spec"]["predictor"]
    assert predictor["minReplicas"] == 1
    assert predictor["model"]["modelFormat"] == {"name": "huggingface"}
    assert predictor["model"]["storageUri"] == "pvc://default/default/org/model"
    assert "--tensor-parallel-size=2" in predictor["model"]["args"]
    assert predictor["model"]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert (sight.status.health, sight.url, sight.code) == ("starting", "", "")
    assert await world.driver.present() == [present(wanted)]


async def test_ensuring_again_changes_nothing(world: World) -> None:
    wanted = instance()
    await world.driver.ensure(wanted)
    before = await found(world)

    sight = await world.driver.ensure(wanted)
    again = await KServeDriver(world.cluster, rest=QUICK).ensure(wanted)

    assert await found(world) == before
    assert sight.drift == again.drift == ()


async def test_it_is_ready_when_its_own_generation_is(world: World) -> None:
    wanted = instance()
    await world.driver.ensure(wanted)
    assert (await world.driver.ensure(wanted)).url == ""

    await world.hand.report(SLOT, observed=1)
    sight = await world.driver.ensure(wanted)

    assert sight.status.health == "ready"
    assert sight.url == f"http://{SLOT}.example.com/openai"


async def test_one_that_is_ready_and_does_not_say_where_answers_at_its_service(
    world: World,
) -> None:
    wanted = instance()
    await world.driver.ensure(wanted)
    await world.hand.report(SLOT, observed=1, url=None)

    sight = await world.driver.ensure(wanted)

    assert sight.url == f"http://{SLOT}-predictor.{world.namespace}.svc/openai"


async def test_readiness_of_the_model_before_is_not_its_own(world: World) -> None:
    await world.driver.ensure(instance("old"))
    await world.hand.report(SLOT, observed=1)
    wanted = instance("new")

    assert (await world.driver.ensure(wanted)).url == ""
    assert (await found(world))["metadata"]["generation"] == 2
    assert (await world.driver.ensure(wanted)).url == ""
    await world.hand.report(SLOT, observed=2)

    assert (await world.driver.ensure(wanted)).status.health == "ready"


async def test_readiness_of_the_pods_before_is_not_its_own(world: World) -> None:
    old, new = instance("same"), instance("same")
    await world.driver.ensure(old)
    await world.hand.pod("old", SLOT, old.served.id)
    await world.hand.pod_status("old", ready=True)
    await world.driver.ensure(new)
    await world.hand.pod("new", SLOT, new.served.id)
    await world.hand.pod_status("new")

    await world.hand.report(SLOT, observed=2)
    assert (await world.driver.ensure(new)).url == ""
    await world.hand.pod_status("new", ready=True)

    assert (await world.driver.ensure(new)).url


async def test_its_own_ready_pod_outweighs_a_generation_that_counts_something_else(
    world: World,
) -> None:
    wanted = instance()
    await world.driver.ensure(instance())
    await world.driver.ensure(wanted)
    await world.hand.pod("mine", SLOT, wanted.served.id)
    await world.hand.pod_status("mine", ready=True)

    await world.hand.report(SLOT, observed=1)

    assert (await world.driver.ensure(wanted)).status.health == "ready"


async def test_somebody_elses_object_is_a_conflict_that_names_its_fields(world: World) -> None:
    theirs = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": SLOT},
        "spec": {
            "predictor": {
                "minReplicas": 1,
                "model": {"modelFormat": {"name": "huggingface"}, "storageUri": "pvc://their/own"},
            }
        },
    }
    status, said = await world.hand.apply("somebody", theirs)
    assert status == 201, said

    sight = await world.driver.ensure(instance())

    assert sight.code == "conflict"
    assert ".spec.predictor.model.storageUri" in sight.status.message
    assert (await found(world))["spec"] == said["spec"]
    assert await world.driver.present() == []


async def test_what_another_applies_of_ours_is_refused_and_with_force_taken_back(
    world: World,
) -> None:
    wanted = inference_service(instance(), INFERENCE_SERVICES)
    await world.cluster.apply(INFERENCE_SERVICES, wanted)
    theirs = msgspec.json.decode(msgspec.json.encode(wanted))
    theirs["spec"]["predictor"]["model"]["args"] = ["--model_name=theirs"]
    assert (await world.hand.apply("somebody", theirs))[0] == 409
    await world.hand.patch(SLOT, {"spec": {"predictor": {"model": {"args": ["--theirs"]}}}})

    with pytest.raises(ClusterError) as refused:
        await world.cluster.apply(INFERENCE_SERVICES, wanted)
    said = await world.cluster.apply(INFERENCE_SERVICES, wanted, force=True)

    assert refused.value.code == "conflict"
    assert refused.value.fields == (".spec.predictor.model.args",)
    assert (
        said["spec"]["predictor"]["model"]["args"] == wanted["spec"]["predictor"]["model"]["args"]
    )


async def test_what_others_add_survives_a_new_activation(world: World) -> None:
    await world.driver.ensure(instance())
    theirs = {"labels": {"theirs": "yes"}, "annotations": {"theirs/note": "kept"}}
    await world.hand.patch(SLOT, {"metadata": theirs, "spec": {"predictor": {"timeout": 120}}})
    wanted = instance("other")

    first = await world.driver.ensure(wanted)
    sight = await world.driver.ensure(wanted)

    said = await found(world)
    assert said["metadata"]["labels"]["theirs"] == "yes"
    assert said["metadata"]["annotations"]["theirs/note"] == "kept"
    assert said["spec"]["predictor"]["timeout"] == 120
    assert said["metadata"]["annotations"][MODEL] == "other"
    assert first.drift == sight.drift == ()


async def test_what_somebody_edits_is_said_and_put_right_when_asked(world: World) -> None:
    wanted = instance()
    await world.driver.ensure(wanted)
    model = {"args": ["--model_name=edited"], "storageUri": "pvc://elsewhere/x"}
    edits = {
        "metadata": {"annotations": {MODEL: "edited"}},
        "spec": {"predictor": {"model": model}},
    }
    await world.hand.patch(SLOT, edits)
    edited = await found(world)

    said = await world.driver.ensure(wanted, correct=False)
    assert await found(world) == edited
    corrected = await world.driver.ensure(wanted)
    after = await world.driver.ensure(wanted)

    assert said.drift == corrected.drift
    assert said.drift == (
        f"metadata.annotations.{MODEL}",
        "spec.predictor.model.args",
        "spec.predictor.model.storageUri",
    )
    assert after.drift == ()
    assert (await found(world))["metadata"]["annotations"][MODEL] == "llama"


async def test_a_label_that_somebody_removes_is_drift(world: World) -> None:
    wanted = instance()
    await world.driver.ensure(wanted)
    label = "app.kubernetes.io/managed-by"
    await world.hand.patch(SLOT, {"metadata": {"labels": {label: None}}})

    sight = await world.driver.ensure(wanted)

    assert sight.drift == (f"metadata.labels.{label}",)
    assert (await found(world))["metadata"]["labels"][label] == "mllm"


async def test_our_own_change_of_mind_is_no_drift(world: World) -> None:
    wanted = instance()
    await world.driver.ensure(wanted)

    sight = await world.driver.ensure(msgspec.structs.replace(wanted, replicas=3), correct=False)

    assert sight.drift == ()
    assert (await found(world))["spec"]["predictor"]["minReplicas"] == 3


@pytest.mark.parametrize("remembered", [True, False])
async def test_an_object_that_somebody_deletes_is_drift(world: World, remembered: bool) -> None:
    wanted = instance(settled=not remembered)
    await world.driver.ensure(wanted)
    await world.hand.delete(SLOT)
    driver = world.driver if remembered else KServeDriver(world.cluster, rest=QUICK)

    said = await driver.ensure(wanted, correct=False)
    assert await world.hand.get(SLOT) is None
    corrected = await driver.ensure(wanted)

    assert said.drift == corrected.drift == ("deleted",)
    assert said.status.health == "absent"
    assert (await found(world))["metadata"]["annotations"][ACTIVATION] == wanted.served.id


async def test_two_instances_stand_side_by_side_until_one_is_removed(world: World) -> None:
    old, new = instance("old"), instance("new", "b")
    await world.driver.ensure(old)
    await world.hand.report(object_name(old), observed=1)
    await world.driver.ensure(new)
    await world.hand.report(object_name(new), observed=1)

    both = await world.driver.present()
    answering = [(await world.driver.ensure(one)).url for one in (old, new)]
    assert await world.driver.idle(old)
    assert await world.driver.remove(present(old))

    assert set(both) == {present(old), present(new)}
    assert answering == [f"http://{SLOT}.example.com/openai", f"http://{SLOT}-b.example.com/openai"]
    assert await world.driver.present() == [present(new)]
    assert (await world.driver.ensure(new)).status.health == "ready"


async def test_removing_is_done_once_its_pods_are_gone_too(world: World) -> None:
    wanted = instance()
    await world.driver.ensure(wanted)
    await world.hand.pod("left", SLOT, wanted.served.id)

    assert not await world.driver.remove(present(wanted))
    assert await world.hand.get(SLOT) is None
    await world.hand.delete("left", PODS)

    assert await world.driver.remove(present(wanted))
    assert await world.driver.remove(present(wanted))


async def test_a_pod_that_has_ended_and_is_kept_for_its_logs_is_not_waited_for(
    world: World,
) -> None:
    old, new = instance("old"), instance("new")
    await world.driver.ensure(old)
    await world.hand.pod("evicted", SLOT, old.served.id)
    await world.hand.pod_status("evicted", phase="Failed", reason="Evicted")
    await world.driver.ensure(new)

    assert await world.driver.remove(present(old))


async def test_what_another_activation_has_taken_over_is_not_removed(world: World) -> None:
    old, new = instance("old"), instance("new")
    await world.driver.ensure(old)
    await world.driver.ensure(new)

    assert await world.driver.remove(present(old))

    assert await world.driver.present() == [present(new)]


async def test_an_object_that_has_changed_since_it_was_seen_is_not_deleted(world: World) -> None:
    await world.driver.ensure(instance())
    seen = (await found(world))["metadata"]
    await world.hand.patch(SLOT, {"metadata": {"labels": {"theirs": "yes"}}})

    with pytest.raises(ClusterError) as refused:
        await world.cluster.delete(
            INFERENCE_SERVICES, SLOT, uid=seen["uid"], version=seen["resourceVersion"]
        )

    assert refused.value.code == "conflict"
    assert await world.hand.get(SLOT) is not None


async def test_a_slot_whose_name_is_anothers_second_place_is_refused(world: World) -> None:
    first, other = instance("first", "b"), instance("other", slot=f"{SLOT}-b")
    await world.driver.ensure(first)

    sight = await world.driver.ensure(other)
    with pytest.raises(ClusterError, match=f"serves slot {SLOT}"):
        await world.workloads.preview(manifest(), "default", f"{SLOT}-b")

    assert sight.code == "conflict"
    assert await world.driver.present() == [present(first)]


async def test_a_preview_changes_nothing(world: World) -> None:
    wanted = manifest("previewed")
    nothing = await world.workloads.preview(wanted, "default", SLOT)
    assert await world.hand.get(SLOT) is None
    await world.driver.ensure(instance())
    before = await found(world)

    changed = await world.workloads.preview(wanted, "default", SLOT)

    assert await found(world) == before
    assert nothing["metadata"]["annotations"][MODEL] == "previewed"
    assert changed["metadata"]["annotations"][MODEL] == "previewed"
    assert changed["metadata"]["uid"] == before["metadata"]["uid"]
    assert "managedFields" not in changed["metadata"]


async def test_a_cluster_without_kserve_is_said_to_be_one(world: World) -> None:
    driver = KServeDriver(world.cluster, kind=UNSERVED, rest=QUICK)

    sight = await driver.ensure(instance())

    assert sight.code == "kserve_missing"
    assert "serving.kserve.io/v9" in sight.status.message
    with pytest.raises(DriverUnavailable, match=r"serving\.kserve\.io/v9"):
        await driver.present()


async def test_a_missing_namespace_is_named(world: World) -> None:
    cluster = Cluster(Access(world.kubeconfig), f"{world.namespace}-none")
    try:
        sight = await KServeDriver(cluster, rest=QUICK).ensure(instance())
    finally:
        await cluster.close()

    assert sight.code == "not_found"
    assert f"{world.namespace}-none" in sight.status.message


async def test_a_field_of_the_wrong_type_is_invalid(world: World) -> None:
    wanted = inference_service(instance(), INFERENCE_SERVICES)
    wanted["spec"]["predictor"]["minReplicas"] = "many"

    with pytest.raises(ClusterError, match="minReplicas") as refused:
        await world.cluster.apply(INFERENCE_SERVICES, wanted)

    assert refused.value.code == "invalid"


async def test_what_was_followed_is_not_relied_on_when_it_no_longer_is(world: World) -> None:
    wanted = instance()
    async with aclosing(world.driver.changes()) as changes:
        await world.driver.ensure(wanted)
        await anext(changes)
        await world.hand.pod("early", SLOT, wanted.served.id)
        await eventually(lambda: _pods(world, wanted, 1))
    await world.hand.pod("late", SLOT, wanted.served.id)

    assert await _pods(world, wanted, 2)


async def _pods(world: World, wanted: Instance, count: int) -> bool:
    return len((await world.driver.ensure(wanted)).status.pods) == count


async def test_a_cluster_that_is_away_is_not_the_instances_fault(world: World) -> None:
    await world.driver.ensure(instance())
    gone = Cluster(Access("/nonexistent/kubeconfig"))

    with pytest.raises(DriverUnavailable, match="/nonexistent/kubeconfig"):
        await KServeDriver(gone, rest=QUICK).ensure(instance())
