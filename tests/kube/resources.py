"""What the server serves, and as much of KServe's schema as our objects use."""

from typing import Any, NamedTuple

from tests.kube.plain import as_list, as_map


class Resource(NamedTuple):
    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    status: bool = False

    @property
    def qualified(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


SERVICES = Resource(
    "serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService", status=True
)
PODS = Resource("", "v1", "pods", "Pod", status=True)
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", status=True)
EVENTS = Resource("", "v1", "events", "Event")
NODES = Resource("", "v1", "nodes", "Node", namespaced=False, status=True)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
SECRETS = Resource("", "v1", "secrets", "Secret")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
CLAIMS = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", status=True)

SERVED = (
    SERVICES,
    PODS,
    DEPLOYMENTS,
    EVENTS,
    NODES,
    NAMESPACES,
    ACCOUNTS,
    SECRETS,
    CONFIG_MAPS,
    CLAIMS,
)

ANY = object()
"""Whatever it is: this part of the schema is not ours to know."""

CONTAINER = {
    "name": str,
    "modelFormat": {"name": str, "version": str},
    "storageUri": str,
    "runtime": str,
    "image": str,
    "args": [str],
    "env": ANY,
    "resources": ANY,
    "volumeMounts": ANY,
}
SCHEMA: dict[str, Any] = {
    "spec": {
        "predictor": {
            "minReplicas": int,
            "maxReplicas": int,
            "timeout": int,
            "labels": ANY,
            "annotations": ANY,
            "nodeSelector": ANY,
            "tolerations": ANY,
            "volumes": ANY,
            "model": CONTAINER,
        }
    }
}

KEYED = {"env": "name", "volumes": "name", "volumeMounts": "mountPath"}
"""Lists whose entries are told apart by a key, so that several managers may each have some."""


def complaint(said: Any, schema: Any, path: str = "") -> str:
    """What is wrong with a typed object, in the server's words; "" when nothing is."""
    if schema is ANY:
        return ""
    if (parts := as_map(schema)) is not None:
        return _of_map(said, parts, path)
    if kinds := as_list(schema):
        within = enumerate(as_list(said) or ())
        wrong = (complaint(one, kinds[0], f"{path}[{at}]") for at, one in within)
        return next(filter(None, wrong), "")
    if schema is int and not (isinstance(said, int | float) and not isinstance(said, bool)):
        return f"{path}: expected numeric (int or float), got {_named(said)}"
    if schema is str and not isinstance(said, str):
        return f"{path}: expected string, got {_named(said)}"
    return ""


def _of_map(said: Any, schema: dict[str, Any], path: str) -> str:
    parts = as_map(said)
    if parts is None:
        return f"{path}: expected map, got {_named(said)}"
    for key, value in parts.items():
        if key not in schema:
            return f"{path}.{key}: field not declared in schema"
        if wrong := complaint(value, schema[key], f"{path}.{key}"):
            return wrong
    return ""


def _named(said: Any) -> str:
    names = {"str": "string", "bool": "boolean", "dict": "map", "list": "list"}
    return names.get(type(said).__name__, "number")
