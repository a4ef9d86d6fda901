"""Following what is under way to its end: by the event stream, or by asking again without one."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Generic, NamedTuple, TypeVar

import msgspec

from cli.client import Gateway
from cli.display import Display, P
from cli.failures import PASSING, Failure
from cli.session import Session
from cli.tailing import Absence, Break, Message, Pump, follow, position_of

IDLE_SECONDS = 0.25
POLL_SECONDS = 2.0

STREAMLESS = PASSING | {"not_found", "method_not_allowed"}
"""Refusals of the stream that leave the row to be asked for: a part is down, or a proxy balks."""


N = TypeVar("N")


class Told(NamedTuple, Generic[N]):
    """What became known; `position` is that of an event or a row, else 0."""

    news: N
    position: int = 0


class Followed(NamedTuple, Generic[P, N]):
    """Something under way: where news of it come from, and what they make of its picture.

    `read` finds the news in a message about `aggregate` and `id`, and may raise msgspec's errors.
    `ask` asks for the row, which may not be there yet. `late` is what to say when time is up.
    """

    aggregate: str
    id: str
    read: Callable[[Message], N | None]
    ask: Callable[[Gateway], Told[N] | None]
    advance: Callable[[P, N, int], P]
    late: Callable[[P], Failure]


def to_the_end(
    session: Session,
    picture: P,
    followed: Followed[P, N],
    display: Display[P],
    deadline: float | None,
) -> P:
    """Show it until nothing more happens by itself, and return that. `deadline` is monotonic.

    Raises `Failure`: when time is up, or when nothing can be heard of it any more.
    `KeyboardInterrupt` means: detach. It goes on either way.
    """
    display.show(picture)
    if picture.settled:
        return picture
    after = picture.position
    updates = Pump(session.gateway, lambda gateway: _updates(gateway, followed, after))
    with closing(display), updates:
        for update in updates.items(IDLE_SECONDS):
            if isinstance(update, Break):
                picture = picture.hindered(f"{update.cause}; connecting again")
            elif update is not None:
                picture = followed.advance(picture, update.news, update.position)
            display.show(picture)
            if picture.settled:
                break
            if deadline is not None and time.monotonic() >= deadline:
                raise followed.late(picture)
    return picture


def _updates(
    gateway: Gateway, followed: Followed[P, N], position: int
) -> Iterator[Told[N] | Break]:
    """Whatever becomes known after `position`, for ever. Raises `Failure`."""
    away = Absence()
    while True:
        try:
            yield from _told(gateway, followed, position)
        except Failure as refused:
            if refused.code not in STREAMLESS:
                raise
        try:
            row = followed.ask(gateway)
        except Failure as refused:
            if not refused.passing:
                raise
            away.check(refused)
            yield Break(refused.cause)
        else:
            away.ended()
            if row is not None:
                position = row.position
                yield row
        time.sleep(POLL_SECONDS)


def _told(gateway: Gateway, followed: Followed[P, N], position: int) -> Iterator[Told[N] | Break]:
    """What the event stream tells, until it says that it begins anew."""
    for item in follow(gateway, position, aggregate=followed.aggregate, id=followed.id):
        if isinstance(item, Break):
            yield item
        elif item.type == "stream.reset":
            return
        elif (news := _read(followed, item)) is not None:
            yield Told(news, position_of(item.id))


def _read(followed: Followed[P, N], message: Message) -> N | None:
    try:
        return followed.read(message)
    except msgspec.DecodeError:  # a newer server's
        return None
