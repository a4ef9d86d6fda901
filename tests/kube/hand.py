"""Whoever else is at work in a cluster: people who edit, and the controllers that are not there."""

import json
from typing import Any

from aiohttp import ClientResponse

from processors.kserve.access import Connected
from processors.kserve.kinds import DEPLOYMENTS, EVENTS, INFERENCE_SERVICES, NODES, PODS, Kind
from tests.kube.plain import Json
from tests.support import PATIENCE

MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
SOMETIME = "2026-01-01T00:00:00Z"
CONTAINER = "kserve-container"
STORAGE = "storage-initializer"
NAMESPACES = Kind("", "v1", "namespaces", "Namespace")
ACCOUNTS = Kind("", "v1", "serviceaccounts", "ServiceAccount")
CLUSTER_WIDE = (NAMESPACES, NODES)
UNRUN = "nobody"
"""A scheduler that no cluster has: nothing but a test shall say how the pods of a test are."""


class Hand:
    """Writes to one namespace as itself, past our driver."""

    def __init__(self, connected: Connected, namespace: str) -> None:
        self._client = connected.client
        self.namespace = namespace

    async def ask(
        self, method: str, path: str, body: Json | None = None, content: str = "application/json"
    ) -> tuple[int, Json]:
        """The status, and the object that came with it."""
        bare, _, query = path.partition("?")
        response: ClientResponse = await self._client.call_api(
            bare,
            method,
            query_params=[tuple(pair.split("=", 1)) for pair in query.split("&") if pair],
            header_params={"Accept": "application/json", "Content-Type": content},
            body=body,
            auth_settings=["BearerToken"],
            _preload_content=False,
            _request_timeout=PATIENCE,
        )
        async with response:
            text = await response.text()
        return response.status, json.loads(text) if text.startswith("{") else {"text": text}

    async def arrive(self) -> None:
        """Make the namespace, and the account that pods of it are given."""
        labels = {"pod-security.kubernetes.io/enforce": "privileged"}
        await self._made(NAMESPACES, {"metadata": {"name": self.namespace, "labels": labels}})
        await self._made(ACCOUNTS, {"metadata": {"name": "default"}}, there=True)

    async def leave(self) -> None:
        """Whether the namespace ever ends is for controllers that may not be there."""
        await self.ask("DELETE", NAMESPACES.path("", self.namespace))

    async def get(self, name: str, kind: Kind = INFERENCE_SERVICES) -> Json | None:
        status, said = await self.ask("GET", kind.path(self.namespace, name))
        assert status in (200, 404), said
        return said if status == 200 else None

    async def patch(self, name: str, body: Json, kind: Kind = INFERENCE_SERVICES) -> None:
        path = f"{kind.path(self.namespace, name)}?fieldManager=somebody"
        status, said = await self.ask("PATCH", path, body, MERGE)
        assert status == 200, said

    async def apply(self, manager: str, body: Json) -> tuple[int, Json]:
        """Server-side apply by another manager, without force."""
        path = INFERENCE_SERVICES.path(self.namespace, body["metadata"]["name"])
        return await self.ask("PATCH", f"{path}?fieldManager={manager}", body, APPLY)

    async def delete(self, name: str, kind: Kind = INFERENCE_SERVICES) -> None:
        now = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
        status, said = await self.ask("DELETE", self._path(kind, name), now)
        assert status in (200, 202, 404), said

    async def report(self, name: str, observed: int, ready: str = "True", **more: Any) -> None:
        """What KServe's controller would say of an InferenceService."""
        conditions = [_condition("PredictorReady", ready), _condition("Ready", ready)]
        status = {"observedGeneration": observed, "conditions": conditions, **more}
        status.setdefault("url", f"http://{name}.example.com")
        await self.say(name, status, INFERENCE_SERVICES)

    async def say(self, name: str, status: Json, kind: Kind) -> None:
        """Set an object's status, as its controller would."""
        path = self._path(kind, name, "status")
        code, said = await self.ask("PATCH", path, {"status": status}, MERGE)
        assert code == 200, said

    async def pod(
        self, name: str, service: str, activation: str = "", gpus: int = 0, node: str = ""
    ) -> None:
        """A pod as KServe would make it of an InferenceService; "" for one that says no more."""
        labels = {"serving.kserve.io/inferenceservice": service}
        if activation:
            labels["model-manager/activation"] = activation
        container: Json = {"name": CONTAINER, "image": "example.com/server:1"}
        if gpus:
            amounts = {"nvidia.com/gpu": str(gpus)}
            container["resources"] = {"requests": amounts, "limits": amounts}
        spec: Json = {
            "schedulerName": UNRUN,
            "automountServiceAccountToken": False,
            "initContainers": [{"name": STORAGE, "image": "example.com/storage:1"}],
            "containers": [container],
        }
        if node:
            spec["nodeName"] = node
        body = {"metadata": {"name": name, "labels": labels}, "spec": spec}
        await self._made(PODS, body)

    async def pod_status(
        self, name: str, *, ready: bool = False, phase: str = "Running", **more: Any
    ) -> None:
        conditions = [_condition("Ready", "True" if ready else "False")]
        await self.say(name, {"phase": phase, "conditions": conditions, **more}, PODS)

    async def deployment(self, service: str, conditions: list[Json]) -> None:
        """A deployment as KServe would make it, which a cluster's own controller leaves alone:
        without pods, and paused, so that what is said of it stays."""
        name = f"{service}-predictor"
        labels = {"serving.kserve.io/inferenceservice": service, "app": f"isvc.{name}"}
        containers = [{"name": CONTAINER, "image": "example.com/server:1"}]
        template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
        spec: Json = {"replicas": 0, "paused": True, "template": template}
        spec["selector"] = {"matchLabels": {"app": labels["app"]}}
        body = {"metadata": {"name": name, "labels": labels}, "spec": spec}
        await self._made(DEPLOYMENTS, body)
        await self.say(name, {"conditions": conditions}, DEPLOYMENTS)

    async def node(self, name: str) -> None:
        """One that is in order. Nodes are no namespace's: whoever makes one deletes it."""
        await self._made(NODES, {"metadata": {"name": name}})
        await self.node_status(name, "True")

    async def node_status(self, name: str, ready: str, message: str = "") -> None:
        condition = {**_condition("Ready", ready), "reason": "Test", "message": message}
        await self.say(name, {"conditions": [condition]}, NODES)

    async def warn(self, pod: str, reason: str, message: str) -> None:
        involved = {"kind": "Pod", "namespace": self.namespace, "name": pod}
        body: Json = {
            "metadata": {"name": f"{pod}.{reason.lower()}"},
            "involvedObject": involved,
            "type": "Warning",
            "reason": reason,
            "message": message,
            "count": 3,
            "firstTimestamp": SOMETIME,
            "lastTimestamp": SOMETIME,
            "source": {"component": "test"},
        }
        await self._made(EVENTS, body)

    def _path(self, kind: Kind, name: str = "", sub: str = "") -> str:
        return kind.path("" if kind in CLUSTER_WIDE else self.namespace, name, sub)

    async def _made(self, kind: Kind, body: Json, *, there: bool = False) -> None:
        """`there`: it may be, already."""
        path = self._path(kind)
        whole = {"apiVersion": kind.api_version, "kind": kind.name, **body}
        status, said = await self.ask("POST", path, whole)
        assert status == 201 or (there and status == 409), said


def _condition(kind: str, status: str) -> Json:
    return {"type": kind, "status": status, "lastTransitionTime": SOMETIME}


def container(
    name: str = CONTAINER, *, ready: bool = False, restarts: int = 0, **state: Any
) -> Json:
    """A container's status: running, waiting or terminated; `last` is how it ended before."""
    last = state.pop("last", None)
    return {
        "name": name,
        "image": "example.com/server:1",
        "imageID": "",
        "ready": ready,
        "restartCount": restarts,
        "state": state,
        "lastState": {"terminated": last} if last else {},
    }
