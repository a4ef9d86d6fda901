"""The live event stream as a client sees it: parsed, and taken up again where it broke off."""

import http.client
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, NamedTuple, TypeAlias, TypeVar

import msgspec

from cli.client import Gateway, Query
from cli.failures import Failure, OutOfReach

T = TypeVar("T")

SILENCE_SECONDS = 45.0
"""The server says something at least every 15 s; three times that is a dead connection."""

PATIENCE_SECONDS = 90.0
"""How long a server may stay away before its followers give up."""


class Message(NamedTuple):
    """One message of the stream. `id` is empty for what is not in the log."""

    type: str
    id: str
    data: bytes

    def payload(self) -> msgspec.Raw:
        """What the event says: the `data` of its CloudEvent."""
        return msgspec.json.decode(self.data, type=_Envelope).data


class _Envelope(msgspec.Struct):
    data: msgspec.Raw


class Break(NamedTuple):
    """The connection broke off and is being made again. `cause` is for people."""

    cause: str


Item: TypeAlias = Message | Break


def parse(lines: Iterable[bytes]) -> Iterator[Message]:
    """The messages in the lines of a stream (`text/event-stream`)."""
    kind, id, data = "message", "", list[bytes]()
    for line in lines:
        field, _, value = line.rstrip(b"\r\n").partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            kind = value.decode()
        elif field == b"id":
            id = value.decode()
        elif not field and not line.strip():
            if data:
                yield Message(kind, id, b"\n".join(data))
            kind, id, data = "message", "", []


def follow(gateway: Gateway, after: str | int | None = None, **query: Query) -> Iterator[Item]:
    """Every message that `query` chooses, from `after` on, for ever, each once.

    A broken connection is made again, more and more slowly. Raises `Failure` when the server
    refuses, or stays away for `PATIENCE_SECONDS`.
    """
    last = str(after) if after is not None else ""
    away = Absence()
    while True:
        try:
            headers = {"Last-Event-ID": last} if last else {}
            chosen = query if not last else {k: v for k, v in query.items() if k != "tail"}
            for message in parse(gateway.stream("/events", "text/event-stream", headers, **chosen)):
                away.ended()
                last = message.id or last
                yield message
            yield Break("the stream ended")
        except OutOfReach as error:
            away.check(error)
            yield Break(error.cause)
        except (OSError, http.client.HTTPException):
            yield Break("the connection broke off")
        away.wait()


def position_of(id: str) -> int:
    """The position in a message's id, `<position>.<index>`; 0 when it has none."""
    position = id.partition(".")[0]
    return int(position) if position.isdecimal() else 0


class Absence:
    """How long something has been away, and how long to wait before asking for it again."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._pause = 0.1

    def ended(self) -> None:
        self._since, self._pause = None, 0.1

    def check(self, error: Failure) -> None:
        """Raises `error` when patience is at an end."""
        self._since = self._since or time.monotonic()
        if time.monotonic() - self._since > PATIENCE_SECONDS:
            raise error

    def wait(self) -> None:
        time.sleep(self._pause)
        self._pause = min(self._pause * 2, 5.0)


class Pump(Generic[T]):
    """Reads a source in a thread of its own, so that its reader can also do something else.

    `source` is called in that thread, with a gateway whose connections end when the pump is left.
    What it raises, the reader gets raised.
    """

    def __init__(self, gateway: Gateway, source: Callable[[Gateway], Iterable[T]]) -> None:
        self._gateway = gateway.patient(SILENCE_SECONDS)
        self._source = source
        self._items: queue.Queue[T | BaseException | None] = queue.Queue(maxsize=1000)
        self._left = threading.Event()

    def __enter__(self) -> "Pump[T]":
        # A daemon: it may sit in a read for as long as the server is silent.
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._gateway.hang_up()

    def items(self, idle: float) -> Iterator[T | None]:
        """The items, and None whenever `idle` seconds passed without one, until the end."""
        while True:
            try:
                item = self._items.get(timeout=idle)
            except queue.Empty:
                yield None
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def _run(self) -> None:
        last: BaseException | None = None
        try:
            for item in self._source(self._gateway):
                if self._left.is_set():
                    return
                self._items.put(item)
        except Exception as error:  # the reader's to handle: it is raised there
            last = error
        finally:
            self._gateway.close()
        self._items.put(last)
