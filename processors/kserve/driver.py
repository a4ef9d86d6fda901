"""Models as InferenceServices: the `Driver` of a cluster.

An object is applied with our field manager, so what others set in it stays theirs. Whether it is
still as applied is asked of the server itself, by a dry run; the answer holds until the object or
what we want changes.
"""

import hashlib
import logging
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime

import msgspec

from processors.driver import DriverUnavailable, Instance, Present, Sight
from processors.kserve import pods as of_pod
from processors.kserve import service
from processors.kserve.cluster import Cluster, Object, Selection
from processors.kserve.drift import drift
from processors.kserve.informer import Rest
from processors.kserve.kinds import INFERENCE_SERVICES, PODS, Kind, Pod, Service
from processors.kserve.reading import Wanted, every, one, shaped
from processors.kserve.refusals import ClusterError
from processors.kserve.sight import Seen, absent, sight
from processors.kserve.watching import OWN_SERVICES, Watching

HOPELESS = frozenset({"invalid", "forbidden_cluster", "kserve_missing", "conflict", "not_found"})
"""What no waiting cures. Only a cluster that is away may be back in a moment."""

DELETED = ("deleted",)

logger = logging.getLogger(__name__)


class KServeDriver:
    """`kind` is the API to use, `pause` the least seconds between two wake-ups for one slot."""

    replaces_in_place = True
    """KServe rolls an object's pods over to its new specification, old ones last."""

    most_replicas = 1000

    def __init__(
        self,
        cluster: Cluster,
        *,
        kind: Kind = INFERENCE_SERVICES,
        pause: float = 0.3,
        rest: Rest | None = None,
    ) -> None:
        self._cluster = cluster
        self._kind = kind
        self._watching = Watching(cluster, kind, pause=pause, rest=rest)
        self._applied: set[str] = set()
        self._clean: dict[str, bytes] = {}

    async def ensure(self, instance: Instance, *, correct: bool = True) -> Sight:
        """Raises `Rejected` (`unknown_engine`, `weights_unfit`) for what KServe can not run.

        A cluster that refuses (`invalid`, `conflict`, `forbidden_cluster`, `kserve_missing`,
        `not_found` for its namespace) is a sight with that code.
        """
        wanted = service.inference_service(instance, self._kind)
        name = wanted["metadata"]["name"]
        try:
            self._watching.know(name, (instance.namespace, instance.slot))
            found = await self._found(name)
            if found is None:
                return await self._appear(instance, wanted, correct=correct)
            said = self._shaped(found)
            if said.metadata.deletion_timestamp is not None:
                gone = DELETED if service.is_of(said, instance.served.id) else ()
                return absent(instance, "what was there is still being deleted", drift=gone)
            return await self._keep(instance, wanted, found, correct=correct)
        except ClusterError as error:
            return _refused(instance, error)

    async def idle(self, instance: Instance) -> bool:
        """Always: a pod that is deleted gets no new requests, and time to finish those it has.

        The cluster sees to that (its services leave the pod out, and it is asked to end before it
        is killed), and who else sends requests there can not be known.
        """
        return True

    async def remove(self, present: Present) -> bool:
        """Never takes an object that another activation has taken over."""
        self._applied.discard(present.activation)
        try:
            for name in service.names(present.namespace, present.slot):
                await self._remove(name, present)
            return not await self._left(present)
        except ClusterError as error:
            raise DriverUnavailable(str(error)) from error

    async def present(self) -> Sequence[Present]:
        try:
            services = await every(self._cluster, Wanted(self._kind, Service, OWN_SERVICES))
        except ClusterError as error:
            raise DriverUnavailable(str(error)) from error
        standing = [one for one in services if one.metadata.deletion_timestamp is None]
        return [present for present in map(service.whose, standing) if present is not None]

    def changes(self) -> AsyncGenerator[tuple[str, str]]:
        return self._watching.changes()

    async def _appear(self, instance: Instance, wanted: Object, *, correct: bool) -> Sight:
        """Make what is not there; unless it was, and shall not be put right."""
        gone = DELETED if instance.settled or instance.served.id in self._applied else ()
        if gone and not correct:
            return absent(instance, "its InferenceService has been deleted", drift=gone)
        return await self._seen(instance, await self._apply(instance, wanted), gone)

    async def _keep(
        self, instance: Instance, wanted: Object, found: Object, *, correct: bool
    ) -> Sight:
        said = self._shaped(found)
        if service.is_of(said, instance.served.id):
            self._applied.add(instance.served.id)
            return await self._hold(instance, wanted, found, correct=correct)
        own = service.claimed(said, instance.namespace, instance.slot)
        # An object of nobody's is not taken over: without force, the server says what is theirs.
        return await self._seen(instance, await self._apply(instance, wanted, force=own), ())

    async def _hold(
        self, instance: Instance, wanted: Object, found: Object, *, correct: bool
    ) -> Sight:
        """Keep it as wanted, and say what somebody else changed."""
        same = service.is_same(found, wanted)
        changed = await self._drift(wanted, found) if same else ()
        if not same or (changed and correct):
            found = await self._apply(instance, wanted, force=True)
        return await self._seen(instance, found, changed)

    async def _apply(self, instance: Instance, wanted: Object, *, force: bool = False) -> Object:
        found = await self._cluster.apply(self._kind, wanted, force=force)
        self._applied.add(instance.served.id)
        logger.info("applied InferenceService %s", wanted["metadata"]["name"])
        return found

    async def _drift(self, wanted: Object, found: Object) -> tuple[str, ...]:
        name, state = wanted["metadata"]["name"], _state(wanted, found)
        if self._clean.get(name) == state:
            return ()
        corrected = await self._cluster.apply(self._kind, wanted, force=True, dry_run=True)
        fields = drift(found, corrected)
        if not fields:
            self._clean[name] = state
        return fields

    async def _seen(self, instance: Instance, found: Object, changed: tuple[str, ...]) -> Sight:
        said = self._shaped(found)
        name = said.metadata.name
        seen = Seen(
            said,
            await self._watching.pods(name),
            await self._watching.deployments(name),
            self._watching.warnings(name),
            self._watching.nodes(),
        )
        return sight(instance, seen, changed, inside=await self._cluster.inside())

    async def _found(self, name: str) -> Object | None:
        try:
            return msgspec.json.decode(await self._cluster.get(self._kind, name), type=Object)
        except ClusterError as error:
            if error.code == "not_found":
                return None
            raise
        except msgspec.MsgspecError as error:
            raise ClusterError("cluster_unreachable", "no Kubernetes API answers") from error

    def _shaped(self, found: Object) -> Service:
        return shaped(msgspec.json.encode(found), self._kind, Service)

    async def _remove(self, name: str, present: Present) -> None:
        found = await one(self._cluster, self._kind, name, Service)
        if found is None or found.metadata.deletion_timestamp or service.whose(found) != present:
            return
        meta = found.metadata
        try:
            await self._cluster.delete(
                self._kind, name, uid=meta.uid, version=meta.resource_version
            )
        except ClusterError as error:
            # Gone already, or changed since we looked: perhaps taken over, so look again first.
            if error.code not in ("not_found", "conflict"):
                raise

    async def _left(self, present: Present) -> bool:
        """Whether anything of it is left: its object, or pods that have yet to end. Those that are
        kept for their logs, or because nobody hears of their node any more, would be for ever."""
        for name in service.names(present.namespace, present.slot):
            found = await one(self._cluster, self._kind, name, Service)
            if found is not None and service.whose(found) == present:
                return True
        own = Selection(f"{service.ACTIVATION}={present.activation}")
        pods, now = await every(self._cluster, Wanted(PODS, Pod, own)), datetime.now(UTC)
        return not all(of_pod.ended(pod) or of_pod.lost(pod, now) for pod in pods)


def _refused(instance: Instance, error: ClusterError) -> Sight:
    # Of what has answered, a cluster that does not let us look says nothing.
    if error.code not in HOPELESS or instance.settled:
        raise DriverUnavailable(str(error)) from error
    theirs = f" (managed by others: {', '.join(error.fields)})" if error.fields else ""
    return absent(instance, f"{error}{theirs}", code=error.code)


def _state(wanted: Object, found: Object) -> bytes:
    """A digest of everything that drift depends on: what is wanted, and the object but its status
    and its version."""
    meta = found["metadata"]
    parts = [wanted, meta.get("uid"), meta.get("labels"), meta.get("annotations"), found["spec"]]
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).digest()
