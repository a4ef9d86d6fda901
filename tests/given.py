"""given(*events).when(command).then(*events): decisions as sentences."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pytest

from commands.decider import Decider
from schemas.message import Command, Event, Rejected

S = TypeVar("S")


@dataclass(frozen=True)
class Given(Generic[S]):
    """What has happened to one aggregate; calling it says what, from nothing on."""

    decider: Decider[S, Any, Any]
    history: tuple[Event, ...] = ()

    def __call__(self, *events: Event) -> "Given[S]":
        return Given(self.decider, events)

    @property
    def state(self) -> S:
        return self.decider.fold(self.history)

    def when(self, command: Command) -> "When[S]":
        return When(self, command)


@dataclass(frozen=True)
class When(Generic[S]):
    given: Given[S]
    command: Command

    @property
    def events(self) -> tuple[Event, ...]:
        return tuple(self.given.decider.decide(self.given.state, self.command))

    def and_then(self) -> Given[S]:
        """The command was granted, and the story goes on."""
        return Given(self.given.decider, (*self.given.history, *self.events))

    def then(self, *events: Event) -> None:
        assert self.events == events

    def then_nothing(self) -> None:
        self.then()

    def then_rejected(self, code: str, **details: object) -> None:
        with pytest.raises(Rejected) as caught:
            self.given.decider.decide(self.given.state, self.command)
        assert caught.value.code == code
        told = dict(caught.value.details)
        if "remedy" not in details:  # words for people
            told.pop("remedy", None)
        assert told == details
