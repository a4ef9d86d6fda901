"""Whether a model could serve: every question that can be asked before it is tried.

All of them are asked, always in the same order, whatever came of those before: a person wants to
mend everything at once. What the world that models run in has is the `World` port's to say.
"""

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import suppress
from typing import Protocol

from msgspec.structs import replace

from processors.advice import fit as fitting
from processors.advice.architectures import support
from schemas.advice import Advisor, GpuProfile, Serving, engine_of, facts_for, serving_of
from schemas.checks import Capacity, Check, Outcome
from schemas.engine import LLAMACPP, VLLM, BuiltIn
from schemas.facts import Facts
from schemas.manifest import Manifest
from schemas.message import Rejected
from schemas.remedies import install, install_again, too_few_gpus
from schemas.weights import Holding, Holdings
from schemas.workloads import Node

SECONDS = 8.0
"""For the slowest of the checks: a world that does not answer is said to, not waited for."""

OWN_ENGINES = frozenset({"", LLAMACPP, VLLM, "huggingface"})
"""Engines whose architectures and arguments are known here; others are their operator's."""


class World(Protocol):
    """What a manifest relies on, in the world that would run it: `runtime` is its name.

    Every method raises `Rejected` (its text is why not, its `remedy` what to do) and `OSError` or
    `TimeoutError` when the world can not be asked. What it returns is why all is well.
    """

    runtime: str

    async def storage(self, there: Holding, namespace: str) -> str: ...

    async def secrets(self, manifest: Manifest, namespace: str) -> str: ...

    async def config_maps(self, manifest: Manifest, namespace: str) -> str: ...

    async def engine(self, manifest: Manifest, facts: Facts | None, namespace: str) -> str: ...

    async def capacity(self, manifest: Manifest, namespace: str, slot: str) -> Capacity: ...

    async def nodes(self) -> Sequence[Node]: ...

    def memory(self) -> int:
        """Bytes of the machine that models share; 0 where there are several to choose from."""
        ...


class Warned(Exception):
    """It may do, and yet: the text is why, the remedy what to do."""

    def __init__(self, text: str, remedy: str = "") -> None:
        super().__init__(text)
        self.remedy = remedy


class Inspection:
    """An `Inspector`."""

    def __init__(self, holdings: Holdings, advisor: Advisor, world: World) -> None:
        self._holdings = holdings
        self._advisor = advisor
        self._world = world

    async def check(
        self, manifest: Manifest, namespace: str, *, slot: str = ""
    ) -> tuple[Check, ...]:
        """Raises `LogUnavailable`."""
        holding = await self._holdings(namespace, manifest.weights.name)
        world, facts = self._world, self._facts(manifest, holding)
        return tuple(
            await asyncio.gather(
                _asked("weights", _weights(manifest, holding, facts)),
                _asked("storage", _storage(world, holding, namespace)),
                _asked("secrets", world.secrets(manifest, namespace)),
                _asked("configMaps", world.config_maps(manifest, namespace)),
                _asked("runtime", world.engine(manifest, facts, namespace)),
                _asked("architecture", self._architecture(manifest, facts)),
                _asked("arguments", _arguments(manifest, facts, self._engine(manifest, facts))),
                _asked("gpus", self._gpus(manifest, namespace, slot)),
                _asked("memory", self._memory(manifest, facts)),
            )
        )

    async def capacity(self, manifest: Manifest, namespace: str, *, slot: str = "") -> Capacity:
        """Raises `Rejected` with the world's code when it can not be asked."""
        if not manifest.resources.gpus:
            return Capacity(0, 0, 0)
        try:
            async with asyncio.timeout(SECONDS):
                return await self._world.capacity(manifest, namespace, slot)
        except (OSError, TimeoutError) as error:
            text = f"it can not be seen which GPUs are free: {_why(error)}"
            raise Rejected("cluster_unreachable", text, remedy="try again") from error

    def _facts(self, manifest: Manifest, holding: Holding | None) -> Facts | None:
        """None where nobody knows, as of a file that is not among the weights."""
        with suppress(Rejected):
            return facts_for(manifest, holding, self._world.runtime) if holding else None
        return None

    def _engine(self, manifest: Manifest, facts: Facts | None) -> BuiltIn:
        return engine_of(manifest, facts or Facts(), self._world.runtime)

    async def _architecture(self, manifest: Manifest, facts: Facts | None) -> str:
        if manifest.runtime not in OWN_ENGINES:
            return f"what {manifest.runtime} supports is its operator's to know"
        if facts is None:
            raise Warned("it is not known what the weights are", "install them with this version")
        engine = self._engine(manifest, facts)
        found = support(facts, engine, await self._advisor.supported_models())
        if found.known:
            return found.reason
        if found.known is None:
            raise Warned(found.reason, found.remedy)
        raise Rejected("unsupported", found.reason, remedy=found.remedy)

    async def _gpus(self, manifest: Manifest, namespace: str, slot: str) -> str:
        capacity = await self.capacity(manifest, namespace, slot=slot)
        if not capacity.wanted:
            return "asks for none"
        if capacity.wanted <= capacity.free:
            return f"{capacity.wanted} wanted, {capacity.free} of {capacity.total} free"
        raise too_few_gpus(manifest.id, capacity, "" if slot else _makes_room(capacity))

    async def _memory(self, manifest: Manifest, facts: Facts | None) -> str:
        machine = self._world.memory()
        if not (manifest.resources.gpus or machine):
            return "no GPU is asked for: it is up to the machine's own memory"
        if facts is None:
            raise Warned("the size of the model is not known", "install its weights")
        if not manifest.resources.gpus:
            serving = serving_of(manifest, self._engine(manifest, facts))
            return _without_gpus(facts, machine, serving)
        products = sorted({node.gpu_product for node in await self._world.nodes() if node.gpus})
        if not any(products):
            raise Warned("no machine says what GPUs it has")
        told = [await self._fit(manifest, facts, product) for product in products if product]
        return "; ".join(told)

    async def _fit(self, manifest: Manifest, facts: Facts, product: str) -> str:
        serving = serving_of(manifest, self._engine(manifest, facts))
        try:
            found = await self._advisor.compatibility(facts, product, serving)
        except Rejected as refusal:
            raise Warned(str(refusal)) from refusal
        fit, name = found.fit, found.gpu.name
        sums = f"{fit.arithmetic[-1]}" if fit.arithmetic else ""
        match fit.verdict:
            case "fits":
                return f"fits on {fit.gpus} x {name}: {sums}"
            case "tight":
                raise Warned(f"tight on {fit.gpus} x {name}: {sums}", "shorten maxModelLen")
            case "unknown":
                raise Warned(fit.notes[0], "try it, or install other weights")
            case "does-not-fit":
                least = f"{fit.least_gpus} would do" if fit.least_gpus else "no number would do"
                text = f"does not fit on {fit.gpus} x {name} ({least}): {sums}"
                raise Rejected("too_big", text, remedy="more GPUs, or a shorter maxModelLen")


def _without_gpus(facts: Facts, memory: int, serving: Serving) -> str:
    """How it would do without any GPU: all of it has to be in the machine's memory. Some engines
    map their weights, and come up all the same, so it only warns."""
    machine = GpuProfile("machine", "this machine", "", memory)
    alone = replace(
        serving, gpus=1, tensor_parallel=1, pipeline_parallel=1, gpu_memory_utilization=0.0
    )
    found = fitting.fit(facts, machine, alone)
    match found.verdict:
        case "fits" | "tight":
            return f"fits in this machine's memory: {found.arithmetic[-1]}"
        case "unknown":
            raise Warned(found.notes[0], "try it, or install other weights")
        case "does-not-fit":
            text = f"does not fit in this machine's memory: {found.arithmetic[-1]}"
            raise Warned(text, "take smaller weights, or a shorter maxModelLen")


def _makes_room(capacity: Capacity) -> str:
    """A slot whose model holds as many GPUs as are short; empty when there is none."""
    least = capacity.wanted - capacity.free
    return next((one.slot for one in capacity.holders if one.slot and one.gpus >= least), "")


async def _asked(name: str, question: Awaitable[str]) -> Check:
    """The answer to one question, whatever happens on the way to it."""
    try:
        async with asyncio.timeout(SECONDS):
            return Check(name, "pass", await question)
    except Warned as warning:
        return Check(name, "warn", str(warning), warning.remedy)
    except Rejected as refusal:
        return Check(name, "fail", str(refusal), str(refusal.details.get("remedy") or ""))
    except (OSError, TimeoutError) as error:
        return Check(name, "fail", f"it can not be looked at: {_why(error)}", "try again")


async def _weights(manifest: Manifest, holding: Holding | None, facts: Facts | None) -> str:
    source = manifest.weights
    if holding is None:
        raise Rejected(
            "weights_not_installed",
            f"no weights are installed as {source.name}",
            remedy=install(source),
        )
    holding.facts_of(source.file)
    if holding.corrupted:
        raise Rejected(
            "weights_corrupted",
            f"{len(holding.corrupted)} files of {source.name} are not as installed:"
            f" {', '.join(holding.corrupted[:3])}",
            remedy=install_again(holding.repo, holding.revision, source.name),
        )
    if facts is not None and facts.broken:
        remedy = "install others, or all of their files: these are as they were installed"
        if manifest.runtime not in OWN_ENGINES:
            raise Warned(f"{facts.broken}, unless {manifest.runtime} can read it", remedy)
        raise Rejected("weights_unfit", facts.broken, remedy=remedy)
    if source.repo and holding.repo != source.repo:
        text = f"{source.name} holds {holding.repo}, not {source.repo}"
        raise Rejected("other_weights", text, remedy="name the target that holds it")
    if holding.busy:
        raise Warned(f"job {holding.busy} is at work on {source.name}", "wait for it")
    when, how = holding.verified_at, "verified"
    if when is None:
        when, how = holding.installed_at, "hashed as they were installed,"
    said = f"{holding.files} files, {how} {when:%Y-%m-%d %H:%M} UTC"
    if source.repo and source.revision not in (holding.revision, holding.commit):
        raise Warned(f"{said}; of revision {holding.revision}, not {source.revision}")
    return said


async def _storage(world: World, holding: Holding | None, namespace: str) -> str:
    if holding is None:
        raise Warned("nothing is stored yet")
    return await world.storage(holding, namespace)


async def _arguments(manifest: Manifest, facts: Facts | None, engine: BuiltIn) -> str:
    found = list(_contradictions(manifest, facts, engine))
    reason, remedy = "; ".join(c.reason for c in found), "; ".join(c.remedy for c in found)
    if any(contradiction.outcome == "fail" for contradiction in found):
        raise Rejected("invalid", reason, remedy=remedy)
    if found:
        raise Warned(reason, remedy)
    return "none that contradict each other, or the model"


def _contradictions(manifest: Manifest, facts: Facts | None, engine: BuiltIn) -> Iterator[Check]:
    """What an engine would only refuse once it has started, if it said so at all."""
    name, told = "arguments", manifest.engine
    asked, held = told.tensor_parallel_size * told.pipeline_parallel_size, manifest.resources.gpus
    if held and asked > held:
        text = f"parallel over {asked} GPUs, and {held} are asked for"
        yield Check(name, "fail", text, f"resources.gpus: {asked}")
    if facts is not None and facts.heads and facts.heads % told.tensor_parallel_size:
        text = f"{facts.heads} heads can not be split {told.tensor_parallel_size} ways"
        yield Check(name, "fail", text, "choose a tensorParallelSize that divides them")
    length = told.max_model_len
    if facts is not None and length and facts.context and length > facts.context:
        text = f"maxModelLen {length:,} is beyond the model's {facts.context:,} tokens"
        outcome: Outcome = "warn" if engine == LLAMACPP else "fail"
        yield Check(name, outcome, text, f"engine.maxModelLen: {facts.context}")
    if told.trust_remote_code:
        text = "trustRemoteCode lets the repository's own code run where the model runs"
        yield Check(name, "warn", text, "leave it out unless the architecture needs it")


def _why(error: Exception) -> str:
    return str(error) or "no answer in time"
