"""What a target holds: folded from the log, for those who would rely on it."""

from typing import assert_never

import msgspec

from schemas.log import Commit, EventLog, Stream
from schemas.names import weights_id
from schemas.weights import (
    AGGREGATE,
    Holding,
    WeightsCorrupted,
    WeightsDeleted,
    WeightsEvent,
    WeightsFiles,
    WeightsInstalled,
    WeightsReferenced,
    WeightsReleased,
    WeightsReserved,
    WeightsUnreferenced,
    WeightsVerified,
)

set_ = msgspec.structs.replace


class HoldingsOnLog:
    """`Holdings` on a log."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    async def __call__(self, namespace: str, target: str) -> Holding | None:
        history = await self._log.load(Stream(namespace, AGGREGATE, weights_id(target)), fresh=True)
        holding: Holding | None = None
        busy = ""
        for commit in history:
            for event in commit.events:
                holding = _evolve(holding, event, commit)  # type: ignore[arg-type]
                if isinstance(event, WeightsReserved):
                    busy = event.job
                elif isinstance(event, WeightsReleased):
                    busy = ""
        return set_(holding, busy=busy) if holding else None


def _evolve(holding: Holding | None, event: WeightsEvent, commit: Commit) -> Holding | None:
    match event:
        case WeightsInstalled():
            return _installed(event, commit)
        case WeightsDeleted():
            return None
        case WeightsVerified():
            return set_(holding, verified_at=commit.at, corrupted=()) if holding else None
        case WeightsCorrupted(paths=paths):
            return set_(holding, corrupted=paths) if holding else None
        case (
            WeightsReserved()
            | WeightsReleased()
            | WeightsFiles()
            | WeightsReferenced()
            | WeightsUnreferenced()
        ):
            return holding
        case _:
            assert_never(event)


def _installed(event: WeightsInstalled, commit: Commit) -> Holding:
    return Holding(
        target=event.target,
        store=event.store,
        repo=event.repo,
        revision=event.revision,
        commit=event.commit,
        manifest=event.manifest,
        files=event.files,
        bytes=event.bytes,
        installed_at=commit.at,
        license=event.license,
        facts=event.facts,
        others=event.others,
    )
