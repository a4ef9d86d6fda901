"""What the server serves, and as much of KServe's schema as our objects use."""

import re
from collections import Counter
from collections.abc import Iterator
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
    "env": [{"name": str, "value": str, "valueFrom": ANY}],
    "resources": ANY,
    "volumeMounts": [{"name": str, "mountPath": str, "readOnly": ANY}],
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

KEYED = {"env": "name", "volumeMounts": "mountPath"}
"""Lists whose entries are told apart by a key, so that several managers may each have some. Other
lists are somebody's as a whole, a predictor's `volumes` among them."""

WHOLE = frozenset({"configMapKeyRef", "nodeSelector", "secretKeyRef"})
"""Maps that are somebody's as a whole."""

QUANTITY = (
    r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]"
    r"|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
)


def part(field: str, entry: Any) -> str:
    """How an entry of the keyed list `field` is told apart in a path."""
    key = KEYED[field]
    return f'[{key}="{entry[key]}"]'


def no_quantities(said: Any, path: str) -> Iterator[tuple[str, str]]:
    """Where, under `resources`, there are amounts that are none, and what is there."""
    for name, value in (as_map(said) or {}).items():
        within = f"{path}.{name}"
        if path.endswith((".resources.limits", ".resources.requests")):
            if not re.match(QUANTITY, str(value)):
                yield within, str(value)
        else:
            yield from no_quantities(value, within)


def complaint(said: Any, schema: Any, path: str = "") -> str:
    """What is wrong with a typed object, in the server's words; "" when nothing is."""
    if schema is ANY:
        return ""
    if (parts := as_map(schema)) is not None:
        return _of_map(said, parts, path)
    if kinds := as_list(schema):
        return _of_list(said, kinds[0], path)
    if schema is int and not (isinstance(said, int | float) and not isinstance(said, bool)):
        return f"{path}: expected numeric (int or float), got {_named(said)}"
    if schema is str and not isinstance(said, str):
        return f"{path}: expected string, got &value.valueUnstructured{{Value:{_plain(said)}}}"
    return ""


def _of_list(said: Any, schema: Any, path: str) -> str:
    entries = as_list(said)
    if entries is None:
        return f"{path}: expected list, got &{{{_plain(said)}}}"
    field = path.rpartition(".")[2]
    parts = [part(field, one) if field in KEYED else f"[{at}]" for at, one in enumerate(entries)]
    if twice := [one for one, times in Counter(parts).items() if times > 1]:
        return f"{path}: duplicate entries for key {twice[0]}"
    wrong = (complaint(one, schema, path + at) for one, at in zip(entries, parts, strict=True))
    return next(filter(None, wrong), "")


def _of_map(said: Any, schema: dict[str, Any], path: str) -> str:
    parts = as_map(said)
    if parts is None:
        return f"{path}: expected map, got &{{{_plain(said)}}}"
    for key, value in parts.items():
        if key not in schema:
            return f"{path}.{key}: field not declared in schema"
        if wrong := complaint(value, schema[key], f"{path}.{key}"):
            return wrong
    return ""


def _plain(said: Any) -> str:
    return str(said).lower() if isinstance(said, bool) else str(said)


def _named(said: Any) -> str:
    names = {"str": "string", "bool": "boolean", "dict": "map", "list": "list"}
    return names.get(type(said).__name__, "number")
