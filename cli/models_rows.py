"""How models and their versions are shown."""

from collections.abc import Mapping

from cli.job_rows import since
from cli.tables import Column, Table, View, facts
from schemas.api.models import ModelDetail, ModelVersion
from schemas.manifest import EngineArguments, EnvVar, Manifest, Resources
from schemas.manifest_reading import written
from schemas.message import Value


class Description(Value):
    """A model, and its versions, newest first."""

    model: ModelDetail
    history: tuple[ModelVersion, ...]


def _replicas(manifest: Manifest) -> str:
    least, most = manifest.replicas.min, manifest.replicas.max
    return str(least) if least == most else f"{least} to {most}"


def _pairs(pairs: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in pairs.items())


MODELS: View[ModelDetail] = View(
    "model",
    lambda row: row.name,
    (
        Column("MODEL", lambda row: row.name),
        Column("WEIGHTS", lambda row: row.target or row.repo),
        Column("ENGINE", lambda row: row.engine or row.runtime or "-"),
        Column("SERVES IN", lambda row: ",".join(row.slots) or "-"),
        Column("ALIASES", lambda row: ",".join(row.aliases) or "-"),
        Column("AGE", lambda row: since(row.registered_at)),
        Column("NAME", lambda row: row.display_name or "-", wide=True),
        Column("VERSION", lambda row: str(row.version), wide=True),
        Column("UPDATED", lambda row: since(row.updated_at), wide=True),
        Column("BY", lambda row: row.updated_by, wide=True),
        Column("REPLICAS", lambda row: _replicas(row.manifest), wide=True),
        Column("GPUS", lambda row: str(row.manifest.resources.gpus), wide=True),
        Column("LICENSE", lambda row: row.license or "-", wide=True),
        Column("LABELS", lambda row: _pairs(row.labels) or "-", wide=True),
    ),
)
VERSIONS: View[ModelVersion] = View(
    "version",
    lambda row: str(row.version),
    (
        Column("VERSION", lambda row: str(row.version)),
        Column("AGE", lambda row: since(row.at)),
        Column("CHANGE", lambda row: row.change),
        Column("BY", lambda row: row.actor),
        Column("FIELDS", lambda row: ",".join(row.changed) or "-"),
    ),
)


def description_text(description: Description, *, colour: bool) -> str:
    about = facts([*_identity(description.model), *_serving(description.model)])
    lines = Table(VERSIONS, colour=colour).lines(description.history)
    return "\n\n".join([about, "\n".join(["History:", *(f"  {line}" for line in lines)])])


def _identity(model: ModelDetail) -> list[tuple[str, str]]:
    return [
        ("Model", model.name),
        ("Name", model.display_name),
        ("Namespace", model.namespace),
        ("Description", model.description),
        ("License", model.license),
        ("Aliases", ", ".join(model.aliases)),
        ("Labels", _pairs(model.labels)),
        ("Version", str(model.version)),
        ("Registered", f"{since(model.registered_at)} ago"),
        ("Updated", f"{since(model.updated_at)} ago by {model.updated_by}"),
        ("Serves in", ", ".join(model.slots) or "no slot"),
    ]


def _serving(model: ModelDetail) -> list[tuple[str, str]]:
    manifest, weights = model.manifest, model.manifest.weights
    return [
        ("Weights", weights.target or f"{weights.repo} at {weights.revision}"),
        ("File", weights.file),
        ("Engine", manifest.runtime or _chosen(model.engine)),
        ("Arguments", _engine(manifest.engine)),
        ("Environment", ", ".join(map(_variable, manifest.env))),
        ("Resources", _resources(manifest.resources)),
        ("Replicas", _replicas(manifest)),
        ("Node selector", _pairs(manifest.node_selector)),
        ("Volumes", ", ".join(f"{one.name} at {one.mount_path}" for one in manifest.volumes)),
    ]


def _chosen(engine: str) -> str:
    return f"{engine}, chosen by the weights" if engine else "chosen by the weights"


def _engine(engine: EngineArguments) -> str:
    """What it is told beyond what goes without saying."""
    said = written(engine)
    extra = said.pop("extra", [])
    return " ".join([*(f"{name}={value}" for name, value in said.items()), *extra])


def _variable(variable: EnvVar) -> str:
    """Its name, and where its value comes from; a value may be long."""
    if variable.secret is not None:
        return f"{variable.name} (secret {variable.secret.name})"
    if variable.config_map is not None:
        return f"{variable.name} (config map {variable.config_map.name})"
    return variable.name


def _resources(wanted: Resources) -> str:
    parts = [
        f"cpu {wanted.cpu}" if wanted.cpu else "",
        f"memory {wanted.memory}" if wanted.memory else "",
        f"{wanted.gpus} x {wanted.gpu_resource}" if wanted.gpus else "",
    ]
    return ", ".join(part for part in parts if part)
