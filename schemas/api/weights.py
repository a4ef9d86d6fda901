"""Weights as the API shows them."""

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from schemas.facts import Facts
from schemas.job import Priority
from schemas.message import Value
from schemas.names import Glob, Repo, Revision, SecretName, Store, Target
from schemas.plan import Wanted

WeightsStatus: TypeAlias = Literal["installing", "installed", "corrupted", "deleting"]


class WeightsRow(Value):
    """The weights of one target as of `position`. `job` is the one at work on it, if any.

    `installed_at` is None while a first install has not ended: such a row is not listed.
    """

    namespace: str
    id: str
    name: str
    status: WeightsStatus
    store: str
    position: int
    updated_at: datetime
    model: str = ""
    revision: str = ""
    commit: str = ""
    key: str = ""
    manifest: str = ""
    license: str = ""
    files: int = 0
    bytes: int = 0
    left_out: tuple[str, ...] = ()
    job: str = ""
    installed_by: str = ""
    installed_at: datetime | None = None
    verified_at: datetime | None = None
    corrupted: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    facts: Facts | None = None


class WeightsFileRow(Value):
    namespace: str
    name: str
    path: str
    size: int
    algorithm: str
    digest: str


class WeightsInfo(Value):
    weights: WeightsRow
    files: tuple[WeightsFileRow, ...]
    storage_uri: str
    inference_model_path: str


class StoreUsage(Value):
    """Bytes. `free`, `total` and `reserve` are None until a worker of the store has reported."""

    store: str
    installed: int
    weights: int
    free: int | None = None
    total: int | None = None
    reserve: int | None = None


class WeightsUsage(Value):
    stores: tuple[StoreUsage, ...]
    weights: tuple[WeightsRow, ...]


class InstallBody(Value, forbid_unknown_fields=True):
    """What to install. `priority` 0 goes first, 2 last."""

    hf_model_id: Repo
    revision: Revision = "main"
    target: Target | None = None
    include: Annotated[tuple[Glob, ...], Meta(max_length=100)] = ()
    exclude: Annotated[tuple[Glob, ...], Meta(max_length=100)] = ()
    overwrite: bool = False
    priority: Priority = 1
    token_secret: SecretName | None = None
    store: Store | None = None

    def wanted(self) -> Wanted:
        return Wanted(
            repo=self.hf_model_id,
            revision=self.revision,
            target=self.target or "",
            include=self.include,
            exclude=self.exclude,
            overwrite=self.overwrite,
            token_secret=self.token_secret or "",
            store=self.store or "",
        )


class NameBody(Value, forbid_unknown_fields=True):
    name: Target
