"""The kinds of objects we ask a cluster about, and what we keep of each: no more than is used.

Shapes are decoded straight from the server's JSON; what they do not name (managed fields, most of
a specification) is never held.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple, TypeVar
from urllib.parse import quote

import msgspec

from processors.kserve.refusals import ClusterError
from schemas.manifest import KUBE_NAME
from schemas.message import Value

OURS = "model-manager/"
SERVICE_LABEL = "serving.kserve.io/inferenceservice"
"""What KServe puts on every pod and deployment it makes: the InferenceService's name."""


class Kind(NamedTuple):
    """A kind of object, as the API server serves it. `group` "" is the core."""

    group: str
    version: str
    plural: str
    name: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str, name: str = "", sub: str = "") -> str:
        """Of one object, or of all; in a namespace, unless that is "".

        Raises `ClusterError` (`not_found`) when there can be no such name.
        """
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        within = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
        if name and not re.match(KUBE_NAME, name):
            raise ClusterError("not_found", f"{name!r} can not be the name of a {self.name}")
        return "/".join(filter(None, (f"{root}{within}/{self.plural}", name, sub)))


INFERENCE_SERVICES = Kind("serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService")
DEPLOYMENTS = Kind("apps", "v1", "deployments", "Deployment")
PODS = Kind("", "v1", "pods", "Pod")
EVENTS = Kind("", "v1", "events", "Event")
NODES = Kind("", "v1", "nodes", "Node")
CLAIMS = Kind("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
SECRETS = Kind("", "v1", "secrets", "Secret")
CONFIG_MAPS = Kind("", "v1", "configmaps", "ConfigMap")


class Shape(Value):
    """Part of an object. Fields that it does not name are not looked at."""


class Meta(Shape):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    deletion_timestamp: str | None = None
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}


class Observed(Shape):
    """Anything that has a name. Objects that differ in nothing we look at are equal."""

    metadata: Meta = Meta()


O = TypeVar("O", bound=Observed)  # noqa: E741


class SaidCondition(Shape):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class Address(Shape):
    url: str = ""


class FailureInfo(Shape):
    location: str = ""
    reason: str = ""
    message: str = ""


class ModelStatus(Shape):
    last_failure_info: FailureInfo | None = None


class ServiceStatus(Shape):
    observed_generation: int = 0
    conditions: tuple[SaidCondition, ...] = ()
    url: str = ""
    address: Address = Address()
    model_status: ModelStatus = ModelStatus()


class PredictorLabels(Shape):
    labels: Mapping[str, str] = {}


class ServiceSpec(Shape):
    predictor: PredictorLabels = PredictorLabels()


class Service(Observed):
    """An InferenceService."""

    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus | None = None


class DeploymentStatus(Shape):
    conditions: tuple[SaidCondition, ...] = ()


class Deployment(Observed):
    status: DeploymentStatus = DeploymentStatus()


class Needs(Shape):
    requests: Mapping[str, str | int] = {}
    limits: Mapping[str, str | int] = {}


class Container(Shape):
    name: str = ""
    restart_policy: str = ""
    resources: Needs = Needs()


class PodSpec(Shape):
    node_name: str = ""
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()


class Waiting(Shape):
    reason: str = ""
    message: str = ""


class Terminated(Shape):
    reason: str = ""
    message: str = ""
    exit_code: int = 0


class Running(Shape):
    started_at: str | None = None


class State(Shape):
    running: Running | None = None
    waiting: Waiting | None = None
    terminated: Terminated | None = None


class SaidContainer(Shape):
    name: str = ""
    ready: bool = False
    restart_count: int = 0
    state: State = State()
    last_state: State = State()


class SaidPod(Shape):
    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: tuple[SaidCondition, ...] = ()
    container_statuses: tuple[SaidContainer, ...] = ()
    init_container_statuses: tuple[SaidContainer, ...] = ()


class Pod(Observed):
    spec: PodSpec = PodSpec()
    status: SaidPod = SaidPod()


class Involved(Shape):
    kind: str = ""
    name: str = ""


class Series(Shape):
    count: int = 0
    last_observed_time: str | None = None


class Happening(Observed):
    """An Event."""

    involved_object: Involved = Involved()
    type: str = ""
    reason: str = ""
    message: str = ""
    count: int = 1
    first_timestamp: str | None = None
    last_timestamp: str | None = None
    event_time: str | None = None
    series: Series | None = None

    @property
    def at(self) -> str:
        """When it last happened: RFC 3339, or ""."""
        again = self.series.last_observed_time if self.series else None
        return again or self.last_timestamp or self.event_time or self.first_timestamp or ""

    @property
    def times(self) -> int:
        return max(self.count, self.series.count if self.series else 0, 1)


class Taint(Shape):
    key: str = ""
    value: str = ""
    effect: str = ""


class NodeSpec(Shape):
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()


class NodeStatus(Shape):
    allocatable: Mapping[str, str] = {}
    conditions: tuple[SaidCondition, ...] = ()


class Machine(Observed):
    """A Node."""

    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


def slim(seen: O) -> O:
    """Without what says nothing to us: other people's labels and annotations, the version."""
    meta = msgspec.structs.replace(
        seen.metadata,
        resource_version="",
        labels=_ours(seen.metadata.labels),
        annotations=_ours(seen.metadata.annotations),
    )
    return msgspec.structs.replace(seen, metadata=meta)


def _ours(said: Mapping[str, str]) -> Mapping[str, str]:
    return {key: value for key, value in said.items() if key.startswith(OURS) or key in NAMED}


MANAGED_BY = "app.kubernetes.io/managed-by"
NAMED = frozenset({SERVICE_LABEL, MANAGED_BY})
