"""The write side's front door: every command, whoever sends it, enters here."""

import asyncio
from typing import Any, get_args

from commands import alias, job, model, runtime, status, token, weights
from commands.decider import Decider, handle
from schemas.alias import AliasCommand
from schemas.job import JobCommand
from schemas.log import EventLog, LogUnavailable, Outcome
from schemas.message import Command, Context
from schemas.model import ModelCommand
from schemas.runtime import RuntimeCommand
from schemas.status import StatusCommand
from schemas.token import TokenCommand
from schemas.weights import WeightsCommand


def _kinds(commands: Any) -> tuple[type[Command], ...]:
    """The classes of a union, which may be one class alone."""
    return get_args(commands) or (commands,)


DECIDERS: dict[type[Command], Decider[Any, Any, Any]] = {
    kind: decider
    for kinds, decider in (
        (JobCommand, job.decider),
        (WeightsCommand, weights.decider),
        (TokenCommand, token.decider),
        (ModelCommand, model.decider),
        (AliasCommand, alias.decider),
        (RuntimeCommand, runtime.decider),
        (StatusCommand, status.decider),
    )
    for kind in _kinds(kinds)
}


DEADLINE = 10.0
"""Seconds after which a command is given up, however the log comes and goes meanwhile."""


class Dispatcher:
    """Carries out commands on a log."""

    def __init__(self, log: EventLog, deadline: float = DEADLINE) -> None:
        self._log = log
        self._deadline = deadline

    async def __call__(self, command: Command, context: Context) -> Outcome:
        """Raises `Rejected` when the state does not allow it, `LogUnavailable`."""
        try:
            async with asyncio.timeout(self._deadline):
                return await handle(self._log, DECIDERS[type(command)], command, context)
        except TimeoutError as error:
            raise LogUnavailable(f"no answer within {self._deadline:g} seconds") from error
