"""The InferenceService that an instance is: pure, from the manifest to what is applied.

An object says itself whose it is. Its annotations name the slot, the model and the activation; so
do labels of its predictor, which KServe puts on the pods: a new activation thus always changes the
specification, and every pod tells which one it belongs to. A digest tells what we applied last, and
so our own change of mind from somebody else's edit.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Never

import msgspec

from processors.driver import Instance, Present
from processors.kserve.cluster import MANAGER, Object
from processors.kserve.kinds import MANAGED_BY, OURS, Kind, Service
from processors.kserve.refusals import ClusterError
from schemas.manifest import EngineArguments, EnvVar, Manifest, Resources, Toleration, Volume
from schemas.message import Rejected
from schemas.runtime import Place

ACTIVATION = f"{OURS}activation"
APPLIED = f"{OURS}applied"
MODEL = f"{OURS}model-id"
NAMESPACE = f"{OURS}namespace"
PLACE = f"{OURS}place"
REVISION = f"{OURS}revision"
SLOT = f"{OURS}slot"

DEFAULT_NAMESPACE = "default"
OPENAI = "/openai"
"""Where KServe's Hugging Face server answers as OpenAI does, under an InferenceService's URL."""

DERIVED = "-predictor"
"""What KServe adds to an InferenceService's name for what it makes of it."""

BACKENDS = {"": "auto", "huggingface": "huggingface", "vllm": "vllm"}
PLACES: tuple[Place, Place] = ("a", "b")


def name(namespace: str, slot: str, place: Place) -> str:
    """What the object of a place is called: the slot, in mllm's default namespace.

    All of mllm's namespaces share one of the cluster's, so the others are told apart by a hash,
    which keeps names short enough for the services that KServe derives from them.
    """
    tenant = "" if namespace == DEFAULT_NAMESPACE else f"-{_digest(namespace.encode())}"
    return f"{slot}{tenant}{'' if place == 'a' else '-b'}"


def names(namespace: str, slot: str) -> tuple[str, ...]:
    """What a slot's objects may be called."""
    return tuple(name(namespace, slot, place) for place in PLACES)


def inference_service(instance: Instance, kind: Kind) -> Object:
    """What to apply. Raises `Rejected` (`unknown_engine`, `weights_unfit`) for what KServe can not
    run."""
    served = instance.served
    labels = {**served.manifest.labels, MANAGED_BY: MANAGER}
    wanted: Object = {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {
            "name": name(instance.namespace, instance.slot, served.place),
            "labels": labels,
            "annotations": {
                MODEL: served.model,
                REVISION: str(served.version),
                ACTIVATION: served.id,
                NAMESPACE: instance.namespace,
                SLOT: instance.slot,
                PLACE: served.place,
            },
        },
        "spec": {"predictor": _predictor(instance, labels)},
    }
    wanted["metadata"]["annotations"][APPLIED] = _digest(msgspec.json.encode(wanted))
    return wanted


def is_same(found: Object, wanted: Object) -> bool:
    """Whether `wanted` is what was applied last: where they differ, somebody else made it so."""
    former: Object = found["metadata"].get("annotations") or {}
    return bool(former.get(APPLIED) == wanted["metadata"]["annotations"][APPLIED])


def whose(service: Service) -> Present | None:
    """Whose activation an object is, as it says itself; None when it is nobody's of ours."""
    said, labels = service.metadata.annotations, service.metadata.labels
    marked = service.spec.predictor.labels
    namespace = said.get(NAMESPACE) or marked.get(NAMESPACE)
    slot = said.get(SLOT) or marked.get(SLOT)
    # The specification first: that is what runs, and annotations are edited more easily.
    activation = marked.get(ACTIVATION) or said.get(ACTIVATION)
    if labels.get(MANAGED_BY) != MANAGER or not (namespace and slot and activation):
        return None
    return Present(namespace, slot, activation)


def claimed(service: Service, namespace: str, slot: str) -> bool:
    """Whether the object is the slot's; False when it is nobody's of ours.

    Raises `ClusterError` (`conflict`) when it is another slot's: our field manager is the same
    everywhere, so the server would not notice.
    """
    owner = whose(service)
    if owner is not None and (owner.namespace, owner.slot) != (namespace, slot):
        raise ClusterError(
            "conflict",
            f"InferenceService {service.metadata.name} serves slot {owner.slot} of namespace"
            f" {owner.namespace}",
        )
    return owner is not None


def is_of(service: Service, activation: str) -> bool:
    """Whether the object was applied for `activation`, even if somebody has edited half of that."""
    marks = service.spec.predictor.labels, service.metadata.annotations
    return activation in {mark.get(ACTIVATION) for mark in marks}


def _predictor(instance: Instance, labels: Mapping[str, str]) -> Object:
    served, manifest = instance.served, instance.served.manifest
    marks = {
        ACTIVATION: served.id,
        MODEL: served.model,
        NAMESPACE: instance.namespace,
        SLOT: instance.slot,
    }
    return {
        "minReplicas": instance.replicas,
        "maxReplicas": max(instance.replicas, manifest.replicas.max, 1),
        "labels": {**labels, **marks},
        "model": _model(instance),
        **_filled(
            nodeSelector=dict(manifest.node_selector),
            tolerations=[_toleration(one) for one in manifest.tolerations],
            volumes=[_volume(one) for one in manifest.volumes],
        ),
    }


def refuse_gguf() -> Never:
    """It is given the folder of the weights, and vLLM and Transformers have to be told a file."""
    raise Rejected(
        "weights_unfit",
        "KServe's Hugging Face server can not be told to serve a GGUF file",
        remedy="install the model's safetensors and leave out `weights.file`,"
        " or serve it with MLLM_RUNTIME=process",
    )


def _model(instance: Instance) -> Object:
    served, manifest = instance.served, instance.served.manifest
    if manifest.weights.file:
        refuse_gguf()
    return {
        "modelFormat": {"name": "huggingface"},
        "storageUri": f"pvc://{served.store}/{instance.namespace}/{served.target}",
        "args": list(arguments(manifest, served.model)),
        **_filled(
            env=[_variable(one) for one in manifest.env],
            resources=_resources(manifest.resources),
            volumeMounts=[_mount(one) for one in manifest.volumes],
        ),
    }


def arguments(manifest: Manifest, model: str) -> Iterator[str]:
    """What KServe's Hugging Face server is told. Raises `Rejected` (`unknown_engine`).

    Its own options have underscores; those with dashes are vLLM's, and mean nothing to the
    plain backend.
    """
    backend = BACKENDS.get(manifest.runtime)
    if backend is None:
        raise Rejected("unknown_engine", f"KServe can not run the engine {manifest.runtime}")
    engine = manifest.engine
    yield f"--model_name={model}"
    yield f"--backend={backend}"
    if engine.dtype != "auto":
        yield f"--dtype={engine.dtype}"
    if engine.max_model_len is not None:
        yield f"--max_model_len={engine.max_model_len}"
    if engine.trust_remote_code:
        yield "--trust_remote_code"
    if backend != "huggingface":
        yield from _of_vllm(engine)
    yield from engine.extra


def _of_vllm(engine: EngineArguments) -> Iterator[str]:
    said: Mapping[str, tuple[Any, Any]] = {
        "tensor-parallel-size": (engine.tensor_parallel_size, 1),
        "pipeline-parallel-size": (engine.pipeline_parallel_size, 1),
        "kv-cache-dtype": (engine.kv_cache_dtype, "auto"),
        "quantization": (engine.quantization, ""),
        "max-num-seqs": (engine.max_num_seqs, None),
        "gpu-memory-utilization": (engine.gpu_memory_utilization, None),
    }
    for option, (value, default) in said.items():
        if value != default:
            yield f"--{option}={value}"


def _resources(wanted: Resources) -> Object:
    """Requests and limits are the same: KServe would fill in limits below larger requests."""
    amounts = {"cpu": wanted.cpu, "memory": wanted.memory}
    amounts[wanted.gpu_resource] = str(wanted.gpus) if wanted.gpus else ""
    said = {resource: amount for resource, amount in amounts.items() if amount}
    return {"requests": said, "limits": dict(said)} if said else {}


def _variable(said: EnvVar) -> Object:
    if said.secret is not None:
        source: Object = {"name": said.secret.name, "key": said.secret.key or said.name}
        return {"name": said.name, "valueFrom": {"secretKeyRef": source}}
    if said.config_map is not None:
        source = {"name": said.config_map.name, "key": said.config_map.key}
        return {"name": said.name, "valueFrom": {"configMapKeyRef": source}}
    return {"name": said.name, "value": said.value}


def _toleration(said: Toleration) -> Object:
    return {
        "operator": said.operator,
        **_filled(key=said.key, value=said.value, effect=said.effect),
        **(
            {}
            if said.toleration_seconds is None
            else {"tolerationSeconds": said.toleration_seconds}
        ),
    }


def _volume(said: Volume) -> Object:
    if said.claim is not None:
        source: Object = {"persistentVolumeClaim": {"claimName": said.claim}}
        if said.read_only:
            source["persistentVolumeClaim"]["readOnly"] = True
    elif said.config_map is not None:
        source = {"configMap": {"name": said.config_map}}
    elif said.secret is not None:
        source = {"secret": {"secretName": said.secret}}
    else:
        source = {"emptyDir": {"medium": "Memory", **_filled(sizeLimit=said.memory)}}
    return {"name": said.name, **source}


def _mount(said: Volume) -> Object:
    mount: Object = {"name": said.name, "mountPath": said.mount_path}
    return {**mount, "readOnly": True} if said.read_only else mount


def _filled(**said: Any) -> Object:
    """Without what is empty: a field that is applied is ours, and empty ones need not be."""
    return {key: value for key, value in said.items() if value}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]
