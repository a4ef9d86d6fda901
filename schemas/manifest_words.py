"""What people are told of a manifest's fields: by editors, and when a value can not be one."""

from collections.abc import Mapping

from schemas import manifest, names
from schemas.engine import LLAMACPP, VLLM

KINDS: Mapping[str, str] = {
    names.MODEL + names.END: "letters, digits, dots, dashes and underscores, as in llama-3-8b",
    names.REVISION + names.END: "a branch, a tag or a commit",
    manifest.KUBE_NAME: "lower-case letters, digits, dots and dashes",
    manifest.QUANTITY: "a quantity such as 500m, 4 or 16Gi",
    manifest.ENV_NAME: "letters, digits and underscores, no digit first",
    manifest.KEY: "letters, digits, dots, dashes and underscores",
    manifest.LABEL_KEY: "a label's name such as team or example.com/team",
    manifest.LABEL_VALUE: "a label's value: letters, digits, dots, dashes and underscores",
    manifest.ABSOLUTE_PATH: "an absolute path",
    manifest.LINE: "one line of text",
    manifest.TEXT: "text without control characters",
}
"""What text that fits a pattern is, in words."""

OTHER_KINDS: Mapping[str, str] = {
    "target": "a name or org/name",
    "repo": "a repository of the Hub, as in org/name",
    "runtime": f"an engine's name, as in {VLLM} or {LLAMACPP}",
}
"""The same of patterns that belong to one field."""

FIELDS: Mapping[str, Mapping[str, str]] = {
    "Manifest": {
        "id": "What the model is called, in routes and verbs.",
        "weights": "Which weights it has.",
        "displayName": "What people call it.",
        "runtime": f"The engine: {VLLM}, {LLAMACPP} … Chosen by the weights when it is left out.",
        "engine": "What the engine is told.",
        "env": "The engine's environment.",
        "resources": "What each replica needs.",
        "nodeSelector": "Labels that a machine must have.",
        "tolerations": "Taints of machines that do not matter.",
        "volumes": "What is mounted beside the weights.",
        "replicas": "How many serve at once.",
        "labels": "Labels of the model, and of the objects it becomes.",
        "description": "What it is, for people.",
        "license": "The licence of the weights.",
        "aliases": "Other names that mean this model.",
    },
    "WeightsSource": {
        "target": "Installed weights, by their name. Either this or `repo`.",
        "repo": "Weights by the repository of the Hub they came from. Either this or `target`.",
        "revision": "Branch, tag or commit of the repository.",
        "file": "Which of several GGUF files.",
    },
    "EngineArguments": {
        "tensorParallelSize": "Over how many GPUs each layer is spread.",
        "pipelineParallelSize": "Over how many GPUs the layers are spread, one after the other.",
        "dtype": "What is computed with.",
        "kvCacheDtype": "How keys and values of the context are stored.",
        "quantization": "How the weights are quantised, where the engine can not tell.",
        "maxModelLen": "The longest context, in tokens.",
        "maxNumSeqs": "How many requests are answered at once.",
        "gpuMemoryUtilization": "The share of each GPU's memory that the engine may take.",
        "gpuLayers": "How many layers go on the GPU (llama.cpp).",
        "threads": "How many threads compute (llama.cpp).",
        "trustRemoteCode": "Run code that comes with the weights. Know whose it is.",
        "extra": "Other arguments, as the engine takes them, one an entry.",
    },
    "SecretKey": {"name": "The secret.", "key": "Which of its entries, on a cluster."},
    "ConfigMapKey": {"name": "The config map.", "key": "Which of its entries."},
    "EnvVar": {
        "name": "The variable.",
        "value": "Its value. Never a secret one: whoever may read models sees it.",
        "secret": "The secret that holds its value.",
        "configMap": "The config map that holds its value.",
    },
    "Resources": {
        "cpu": "Processors, as in 500m or 4.",
        "memory": "Memory, as in 16Gi.",
        "gpus": "How many GPUs.",
        "gpuResource": "What the cluster calls them.",
    },
    "Volume": {
        "name": "What the volume is called.",
        "mountPath": "Where the engine finds it.",
        "claim": "A persistent volume claim.",
        "configMap": "A config map, each entry a file.",
        "secret": "A secret, each entry a file.",
        "memory": "Empty, in memory, of at most this size.",
        "readOnly": "Whether the engine may only read it.",
    },
    "Replicas": {"min": "At least.", "max": "At most."},
    "Toleration": {
        "key": "The taint's name; empty means every one.",
        "operator": "Whether the taint's value has to be equal, or the taint only exist.",
        "value": "The taint's value.",
        "effect": "What the taint does; empty means whatever it does.",
        "tolerationSeconds": "For how long, with NoExecute.",
    },
}
"""One sentence about each field, for editors to show."""
