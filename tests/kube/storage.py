"""What the server keeps: objects, who manages their fields, and every change, for watchers."""

import asyncio
import uuid
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from tests.kube import answers
from tests.kube.applying import Managers, applied, managed_fields, updated
from tests.kube.plain import Json, as_map
from tests.kube.resources import SCHEMA, SERVICES, Resource, complaint, no_quantities

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]

PRECONDITIONS = (
    ("uid", "UID", "deleted and then recreated"),
    ("resourceVersion", "ResourceVersion", "modified"),
)


class Key(NamedTuple):
    resource: Resource
    namespace: str
    name: str


class Change(NamedTuple):
    """`before` and `after` are None where there was, or is, nothing."""

    version: int
    key: Key
    before: Json | None
    after: Json | None


class Storage:
    def __init__(self) -> None:
        self.version = 200
        self.oldest = 200
        self.objects: dict[Key, Json] = {}
        self.changes: list[Change] = []
        self.moved = asyncio.Event()
        self._managers: dict[Key, Managers] = {}

    def forget(self) -> None:
        """Compaction: nobody can go on from before now."""
        self.oldest = self.version + 1
        self.changes.clear()

    def get(self, key: Key) -> Json:
        if key not in self.objects:
            raise answers.not_found(key.resource, key.name)
        return self.objects[key]

    def create(self, key: Key, said: Json, manager: str) -> Json:
        if key in self.objects:
            raise answers.exists(key.resource, key.name)
        made = self._begun(key, said)
        managers: Managers = {}
        updated({"metadata": {}}, made, manager, managers)
        return self._store(key, made, managers)

    def patch(self, key: Key, patch: Json, manager: str, *, status: bool) -> Json:
        """A merge patch of everything but the status, or of nothing but it."""
        live = self.get(key)
        parts = ("status",) if status else tuple(patch.keys() - {"status"})
        after = deepcopy(live)
        for part in parts:
            after[part] = merged(live.get(part), patch.get(part))
        after = {part: value for part, value in after.items() if value is not None}
        self._check(key, after)
        managers = deepcopy(self._managers[key])
        if not status:
            updated(live, after, manager, managers)
        return self._store(key, after, managers)

    def apply(self, key: Key, config: Json, manager: str, *, force: bool, dry_run: bool) -> Json:
        if key.resource == SERVICES and (wrong := complaint({"spec": config["spec"]}, SCHEMA)):
            raise answers.untyped(key.resource, key.name, wrong)
        live = self.objects.get(key) or self._begun(key, {"metadata": {}})
        managers = deepcopy(self._managers.get(key, {}))
        after = applied(live, config, manager, managers, force=force)
        self._check(key, after)
        if dry_run:
            return self._shown(key, self._counted(key, after), managers)
        return self._store(key, after, managers)

    def delete(self, key: Key, preconditions: Json) -> Json:
        live = self.get(key)
        for field, name, why in PRECONDITIONS:
            wanted, found = preconditions.get(field), live["metadata"][field]
            if wanted is not None and wanted != found:
                raise answers.precondition(
                    key.resource,
                    key.name,
                    f"the {name} in the precondition ({wanted}) does not match the {name} in"
                    f" record ({found}). The object might have been {why}",
                )
        if live["metadata"].get("finalizers"):
            return self._ending(key, live)
        return self._end(key, live)

    def _ending(self, key: Key, live: Json) -> Json:
        """It stays until nobody has anything left to do before it goes."""
        meta = live["metadata"]
        if "deletionTimestamp" in meta:
            return live
        going = {"deletionTimestamp": _now(), "deletionGracePeriodSeconds": 0}
        meta = {**meta, **going, "generation": meta["generation"] + 1}
        return self._store(key, {**live, "metadata": meta}, self._managers[key])

    def _end(self, key: Key, last: Json) -> Json:
        before = self.objects.pop(key)
        del self._managers[key]
        self._record(key, before, None)
        return last

    def _check(self, key: Key, said: Json) -> None:
        if key.resource == SERVICES:
            for field, value in no_quantities(said.get("spec"), "spec"):
                raise answers.no_quantity(key.resource, key.name, field, value)

    def _begun(self, key: Key, said: Json) -> Json:
        made = deepcopy(said)
        if key.resource.status:
            made.pop("status", None)
        made |= {"apiVersion": key.resource.api_version, "kind": key.resource.kind}
        made["metadata"] |= {
            "name": key.name,
            "uid": str(uuid.uuid4()),
            "generation": 0,
            "creationTimestamp": _now(),
        }
        if key.namespace:
            made["metadata"]["namespace"] = key.namespace
        return made

    def _store(self, key: Key, after: Json, managers: Managers) -> Json:
        before = self.objects.get(key)
        shown = self._shown(key, self._counted(key, after), managers)
        meta = shown["metadata"]
        if "deletionTimestamp" in meta and not meta.get("finalizers"):
            return self._end(key, shown)
        if before != shown:
            self.version += 1
            shown["metadata"]["resourceVersion"] = str(self.version)
            self.objects[key], self._managers[key] = shown, managers
            self._record(key, before, shown, moved=True)
        return shown

    def _counted(self, key: Key, after: Json) -> Json:
        """The generation counts changes of what is wanted, and of nothing else."""
        before = self.objects.get(key)
        if before is None or before.get("spec") != after.get("spec"):
            meta = after["metadata"]
            after = {**after, "metadata": {**meta, "generation": meta["generation"] + 1}}
        return after

    def _shown(self, key: Key, after: Json, managers: Managers) -> Json:
        fields = managed_fields(managers, key.resource.api_version)
        return {**after, "metadata": {**after["metadata"], "managedFields": fields}}

    def _record(
        self, key: Key, before: Json | None, after: Json | None, moved: bool = False
    ) -> None:
        self.version += 0 if moved else 1
        self.changes.append(Change(self.version, key, before, after))
        self.moved.set()
        self.moved = asyncio.Event()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def merged(target: Any, patch: Any) -> Any:
    """A JSON merge patch."""
    changes = as_map(patch)
    if changes is None:
        return deepcopy(patch)
    result = dict(as_map(target) or {})
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result
