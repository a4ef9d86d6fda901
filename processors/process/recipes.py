"""How an instance is started: its engine, its command line, and what it finds around it."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processors.driver import DriverUnavailable, Instance
from processors.process import environment, weights
from processors.process.engines import EngineProgram, Engines, Serving
from processors.process.masking import Mask
from processors.store import Store
from schemas.manifest import EnvVar, Manifest
from schemas.message import Rejected, refuse_all
from schemas.secrets import Secrets


@dataclass(frozen=True)
class Recipe:
    """`variables` hold secrets, and are not shown."""

    engine: EngineProgram
    serving: Serving
    variables: Mapping[str, str]
    secrets: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Recipe({self.engine.name}, {self.serving.model})"

    def command(self, port: int) -> tuple[str, ...]:
        return self.engine.command(self.serving._replace(port=str(port)))


class Recipes:
    """What instances are made of, here: the weights on this machine, the engines, the secrets."""

    def __init__(self, store: Store, engines: Engines, secrets: Secrets) -> None:
        self._store = store
        self._engines = engines
        self._secrets = secrets

    async def __call__(self, instance: Instance) -> Recipe:
        """Raises `Rejected` when it can not be started as things are, and `DriverUnavailable`."""
        served, namespace = instance.served, instance.namespace
        if served.store != self._store.name:
            raise Rejected(
                "weights_missing",
                f"the weights are in store {served.store}; here is store {self._store.name}",
            )
        engine, serving = await asyncio.to_thread(
            self._choose, served.manifest, namespace, served.target
        )
        if remedy := engine.missing():
            raise Rejected("engine_missing", f"{engine.name} is not installed", remedy=remedy)
        engine.command(serving)  # what it does not take is refused now
        try:
            variables = await environment.declared(served.manifest, namespace, self._secrets)
        except Rejected as error:
            if error.code == "secrets_unavailable":
                raise DriverUnavailable(str(error)) from error
            raise
        hidden = tuple(variables[v.name] for v in served.manifest.env if v.secret is not None)
        return Recipe(engine, serving, variables, hidden)

    async def preview(self, manifest: Manifest, namespace: str) -> dict[str, Any]:
        """What would be started, without starting it and with the names of secrets only.

        Raises `Rejected`.
        """
        wrong = list(environment.refusals(manifest))
        try:
            engine, serving = await asyncio.to_thread(
                self._choose, manifest, namespace, manifest.weights.name
            )
            command = engine.command(serving)
        except Rejected as refusal:
            refuse_all([*wrong, refusal])
            raise
        refuse_all(wrong)
        missing = engine.missing()
        return {
            "engine": engine.name,
            "installed": not missing,
            "remedy": missing,
            "command": list(command),
            "health": engine.health,
            "weights": str(serving.model),
            "environment": [_shown(variable) for variable in manifest.env],
            "gpus": manifest.resources.gpus,
        }

    async def mask(self, namespace: str) -> Mask:
        """What hides every secret of a namespace: a server has any of them, or had.

        Raises `Rejected` with `secrets_unavailable`.
        """
        values: list[str] = []
        for secret in await self._secrets.list(namespace):
            with suppress(Rejected):  # gone since, or not to be opened by us
                values.append(await self._secrets.get(namespace, secret.name))
        return Mask(values)

    def _choose(
        self, manifest: Manifest, namespace: str, target: str
    ) -> tuple[EngineProgram, Serving]:
        folder: Path = weights.installed(self._store.layout, namespace, target)
        engine = self._engines.choose(manifest.runtime, folder)
        model = engine.point_at(folder, manifest.weights.file)
        return engine, Serving(manifest, model, "PORT")


def _shown(variable: EnvVar) -> dict[str, str]:
    if variable.secret is not None:
        return {"name": variable.name, "secret": variable.secret.name}
    return {"name": variable.name, "value": variable.value}
