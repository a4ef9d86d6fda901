"""Models, their names and their manifests as the API shows them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta

from schemas.checks import Capacity, Check
from schemas.facts import Facts
from schemas.manifest import Manifest, Replicas
from schemas.message import Value
from schemas.names import MaybeRepo, MaybeSecretName, MaybeTarget, ModelId, Revision, Slot
from schemas.runtime import DEFAULT_SLOT

Document: TypeAlias = Annotated[
    dict[str, Any], Meta(description="A manifest, as `/schemas/model-manifest` says.")
]

Change: TypeAlias = Literal["registered", "updated", "deleted"]


def _in_json(field: str) -> str:
    first, *rest = {"id": "key", "name": "id"}.get(field, field).split("_")
    return first + "".join(word.title() for word in rest)


class ModelRow(Value, rename=_in_json):
    """A model as of `position`. In JSON `id` is that of its manifest, and of routes.

    `key` is what its history is kept under. `version` is the position at which its manifest was
    registered; `target` and `repo` are where the manifest says the weights are, or come from.
    """

    namespace: str
    id: str
    name: str
    version: int
    manifest: Manifest
    registered_at: datetime
    updated_at: datetime
    updated_by: str
    position: int
    display_name: str = ""
    target: str = ""
    repo: str = ""
    runtime: str = ""
    license: str = ""
    description: str = ""
    labels: Mapping[str, str] = {}
    replicas: Replicas = Replicas()


class AliasRow(Value):
    """Another name, and the model it means as of `position`."""

    namespace: str
    id: str
    name: str
    model: str
    position: int
    updated_at: datetime
    updated_by: str


class ModelDetail(ModelRow):
    """A model with the other names it has, and the slots it serves in.

    `engine` is what serves it, or would: the manifest's `runtime`, or the one for its weights. That
    is not known before they are installed, nor on a cluster, which chooses as the model starts.
    """

    aliases: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()
    engine: str = ""


class ModelVersion(Value):
    """One change of a model. Its manifest is that of `/models/{id}/manifest?as_of=seq:VERSION`;
    `changed` are the fields in which it differs from the one before."""

    version: int
    at: datetime
    actor: str
    change: Change
    changed: tuple[str, ...] = ()


class Applied(Value):
    """What became of a manifest that was applied, or, `dry_run`, what would.

    `created`: the model is new. `changed`: its manifest, or one of its aliases, is not what it was.
    """

    model: ModelRow
    created: bool
    changed: bool
    checks: tuple[Check, ...]
    sequence: int
    dry_run: bool = False


class Deleted(Value):
    model: str
    sequence: int


class AliasSet(Value):
    """What an alias means now; an empty `model` is nothing."""

    alias: str
    model: str
    sequence: int


class ValidateBody(Value, forbid_unknown_fields=True):
    """`slot`: what serves there now counts as gone."""

    manifest: Document
    slot: Slot | None = None


class Validation(Value):
    """`manifest` is how it was understood; None when it is none."""

    valid: bool
    checks: tuple[Check, ...]
    manifest: Manifest | None = None
    capacity: Capacity | None = None


class PreviewBody(Value, forbid_unknown_fields=True):
    manifest: Document
    slot: Slot = DEFAULT_SLOT


class Preview(Value):
    """What would be applied to a cluster, or started: `object` is that, as `runtime` has it."""

    runtime: str
    slot: str
    object: dict[str, Any]


class DiffBody(Value, forbid_unknown_fields=True):
    """`model`: which registered model to compare with, unless it is the manifest's own id."""

    manifest: Document
    model: ModelId | None = None


class FieldChange(Value):
    """A field by its path, as in `engine.maxModelLen`. None is a field that is not said."""

    path: str
    before: Any = None
    after: Any = None


class DiffAnswer(Value):
    """From the registered manifest of `version`, which is 0 when there is none, to the given."""

    same: bool
    version: int
    changes: tuple[FieldChange, ...] = ()


class GenerateBody(Value, forbid_unknown_fields=True):
    """A manifest for what: installed weights by `target`, or a repository of the Hub.

    `id` is made of the name unless said. `file` picks one of several GGUF files.
    """

    target: MaybeTarget = ""
    hf_model_id: MaybeRepo = ""
    revision: Revision = "main"
    id: ModelId | None = None
    file: Annotated[str, Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    token_secret: MaybeSecretName = ""


class Generated(Value):
    """`notes` say where what is in the manifest was read, and what could not be."""

    manifest: Manifest
    facts: Facts | None = None
    notes: tuple[str, ...] = ()
