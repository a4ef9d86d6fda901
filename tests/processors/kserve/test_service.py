"""The InferenceService that a manifest becomes."""

import msgspec
import pytest

from processors.driver import Instance, Present
from processors.kserve.cluster import Object
from processors.kserve.kinds import INFERENCE_SERVICES, Service
from processors.kserve.service import inference_service, is_of, is_same, name, whose
from schemas.manifest import (
    ConfigMapKey,
    EngineArguments,
    EnvVar,
    Manifest,
    Replicas,
    Resources,
    SecretKey,
    Toleration,
    Volume,
    WeightsSource,
)
from schemas.message import Rejected
from schemas.runtime import Served

PLAIN = Manifest(id="llama", weights=WeightsSource(target="org/model"))
ID = "01JD0000000000000000000000"


def instance(manifest: Manifest = PLAIN, namespace: str = "default", replicas: int = 1) -> Instance:
    served = Served(ID, manifest.id, 7, manifest, "org/model", "fast")
    return Instance(namespace, "active-llm", served, replicas)


def built(**fields: object) -> Object:
    """The service of a manifest in which these fields are set."""
    return inference_service(instance(msgspec.structs.replace(PLAIN, **fields)), INFERENCE_SERVICES)


def predictor(**fields: object) -> Object:
    said: Object = built(**fields)["spec"]["predictor"]
    return said


def args(**engine: object) -> list[str]:
    said: list[str] = predictor(
        runtime=engine.pop("runtime", "vllm"),
        engine=msgspec.structs.replace(EngineArguments(), **engine),
    )["model"]["args"]
    return said


def test_it_says_whose_it_is() -> None:
    said = built()

    meta = said["metadata"]
    assert (said["apiVersion"], said["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    assert meta["name"] == "active-llm"
    assert meta["labels"] == {"app.kubernetes.io/managed-by": "mllm"}
    applied = meta["annotations"].pop("model-manager/applied")
    assert len(applied) == 8
    assert meta["annotations"] == {
        "model-manager/model-id": "llama",
        "model-manager/revision": "7",
        "model-manager/activation": ID,
        "model-manager/namespace": "default",
        "model-manager/slot": "active-llm",
        "model-manager/place": "a",
    }


def test_its_pods_say_whose_they_are() -> None:
    assert predictor(labels={"team": "x"})["labels"] == {
        "app.kubernetes.io/managed-by": "mllm",
        "model-manager/activation": ID,
        "model-manager/model-id": "llama",
        "model-manager/namespace": "default",
        "model-manager/slot": "active-llm",
        "team": "x",
    }


def test_only_what_is_said_is_applied() -> None:
    said = predictor()
    del said["labels"]

    assert said == {
        "minReplicas": 1,
        "maxReplicas": 1,
        "model": {
            "modelFormat": {"name": "huggingface"},
            "storageUri": "pvc://fast/default/org/model",
            "args": ["--model_name=llama", "--backend=auto"],
        },
    }


def test_arguments_of_the_engine_are_its_options() -> None:
    assert args(
        tensor_parallel_size=2,
        pipeline_parallel_size=3,
        dtype="bfloat16",
        kv_cache_dtype="fp8",
        quantization="awq",
        max_model_len=8192,
        max_num_seqs=64,
        gpu_memory_utilization=0.9,
        trust_remote_code=True,
        extra=("--enable-prefix-caching",),
    ) == [
        "--model_name=llama",
        "--backend=vllm",
        "--dtype=bfloat16",
        "--max_model_len=8192",
        "--trust_remote_code",
        "--tensor-parallel-size=2",
        "--pipeline-parallel-size=3",
        "--kv-cache-dtype=fp8",
        "--quantization=awq",
        "--max-num-seqs=64",
        "--gpu-memory-utilization=0.9",
        "--enable-prefix-caching",
    ]


def test_the_plain_backend_is_told_nothing_of_vllms() -> None:
    said = args(runtime="huggingface", tensor_parallel_size=2, dtype="float16")

    assert said == ["--model_name=llama", "--backend=huggingface", "--dtype=float16"]


def test_an_engine_that_kserve_can_not_run_is_refused() -> None:
    with pytest.raises(Rejected) as refused:
        built(runtime="llama.cpp")

    assert refused.value.code == "unknown_engine"


def test_requests_are_limits() -> None:
    said = predictor(resources=Resources("4", "16Gi", 2, "amd.com/gpu"))["model"]["resources"]

    assert said["requests"] == said["limits"]
    assert said["limits"] == {"cpu": "4", "memory": "16Gi", "amd.com/gpu": "2"}


def test_the_environment_may_come_from_elsewhere() -> None:
    said = predictor(
        env=(
            EnvVar("PLAIN", "x"),
            EnvVar("EMPTY"),
            EnvVar("HF_TOKEN", secret=SecretKey("hub")),
            EnvVar("KEY", secret=SecretKey("hub", "token")),
            EnvVar("LEVEL", config_map=ConfigMapKey("settings", "level")),
        )
    )["model"]["env"]

    assert said == [
        {"name": "PLAIN", "value": "x"},
        {"name": "EMPTY", "value": ""},
        {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "HF_TOKEN"}}},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}},
        {
            "name": "LEVEL",
            "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "level"}},
        },
    ]


def test_volumes_are_mounted() -> None:
    said = predictor(
        volumes=(
            Volume("cache", "/cache", claim="cache", read_only=True),
            Volume("settings", "/etc/settings", config_map="settings"),
            Volume("keys", "/etc/keys", secret="keys"),
            Volume("shm", "/dev/shm", memory="8Gi"),
        )
    )

    assert said["volumes"] == [
        {"name": "cache", "persistentVolumeClaim": {"claimName": "cache", "readOnly": True}},
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "keys", "secret": {"secretName": "keys"}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}},
    ]
    assert said["model"]["volumeMounts"][:2] == [
        {"name": "cache", "mountPath": "/cache", "readOnly": True},
        {"name": "settings", "mountPath": "/etc/settings"},
    ]


def test_where_it_may_run_is_passed_on() -> None:
    said = predictor(
        node_selector={"zone": "a"},
        tolerations=(Toleration("team", "Equal", "x", "NoExecute", 60), Toleration()),
    )

    assert said["nodeSelector"] == {"zone": "a"}
    assert said["tolerations"] == [
        {
            "operator": "Equal",
            "key": "team",
            "value": "x",
            "effect": "NoExecute",
            "tolerationSeconds": 60,
        },
        {"operator": "Equal"},
    ]


def test_there_is_room_for_as_many_replicas_as_are_wanted() -> None:
    manifest = msgspec.structs.replace(PLAIN, replicas=Replicas(1, 4))
    few = inference_service(instance(manifest, replicas=0), INFERENCE_SERVICES)
    many = inference_service(instance(manifest, replicas=6), INFERENCE_SERVICES)

    sizes = [(one["minReplicas"], one["maxReplicas"]) for one in map(_predictor, (few, many))]
    assert sizes == [(0, 4), (6, 6)]


def test_names_of_other_namespaces_differ_and_stay_short() -> None:
    long = name("n" * 63, "s" * 30, "b")

    assert name("default", "active-llm", "b") == "active-llm-b"
    assert name("one", "active-llm", "a") != name("two", "active-llm", "a")
    assert name("one", "active-llm", "a").startswith("active-llm-")
    assert len(f"{long}-predictor") <= 63


def test_an_object_is_whose_it_says() -> None:
    said = shaped(built())

    assert whose(said) == Present("default", "active-llm", ID)
    assert is_of(said, ID)
    assert not is_of(said, "another")


def test_an_object_that_has_lost_half_of_its_marks_is_still_known() -> None:
    edited = built()
    edited["metadata"]["annotations"] = {}

    assert whose(shaped(edited)) == Present("default", "active-llm", ID)
    assert is_of(shaped(edited), ID)


def test_an_object_without_our_label_is_nobodys() -> None:
    edited = built()
    edited["metadata"]["labels"] = {}

    assert whose(shaped(edited)) is None


def test_what_was_applied_is_told_from_what_is_wanted_now() -> None:
    before, now = built(), built(labels={"team": "x"})

    assert is_same(before, built())
    assert not is_same(before, now)


def shaped(said: Object) -> Service:
    return msgspec.json.decode(msgspec.json.encode(said), type=Service)


def _predictor(said: Object) -> Object:
    found: Object = said["spec"]["predictor"]
    return found
