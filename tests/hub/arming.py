"""How a fault is let loose: which requests it concerns, how often it strikes, when it lets go."""

import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial

from cli.loopback_hub.message import Handler, Hangup, Request, Response
from cli.loopback_hub.route import Kind, Route, route_of

CONTENT: Collection[Kind] = frozenset({"cdn", "cache"})  # where files' bytes come from
FACTS: Collection[Kind] = frozenset({"info", "tree", "paths", "refs"})
SECONDS_BETWEEN_LOOKS = 0.02


class Armed:
    """A fault that may strike, and what has become of it."""

    def __init__(self, fault: "Fault") -> None:
        self.fault = fault
        self.strikes = 0
        self.chance = random.Random(0)
        self._released = threading.Event()
        self._lock = threading.Lock()

    @property
    def armed(self) -> bool:
        return not self._released.is_set()

    def take(self) -> bool:
        """Use up one strike, if there is one left."""
        with self._lock:
            spent = self.fault.times is not None and self.strikes >= self.fault.times
            if spent or not self.armed:
                return False
            self.strikes += 1
            return True

    def disarm(self) -> None:
        """Strike no more, and let go of every client that is held."""
        self._released.set()

    def hold(self, request: Request) -> None:
        """Keep a client waiting until the fault is disarmed; raises Hangup if it leaves."""
        while not self._released.wait(SECONDS_BETWEEN_LOOKS):
            if request.client_left():
                raise Hangup


@dataclass(frozen=True, kw_only=True)
class Fault(ABC):
    """`path` is a glob over paths in the repository; `times` bounds the strikes, None does not."""

    path: str = "*"
    kinds: Collection[Kind] = CONTENT
    times: int | None = None

    def concerns(self, route: Route) -> bool:
        return route.kind in self.kinds and fnmatchcase(route.path, self.path)

    @abstractmethod
    def meet(self, request: Request, handler: Handler, armed: Armed) -> Response:
        """Answer a request it concerns: by the handler alone, or striking if `armed` lets it."""


class Preventing(Fault):
    """Strikes before the hub gets to answer."""

    def meet(self, request: Request, handler: Handler, armed: Armed) -> Response:
        return self.prevent(request, handler, armed) if armed.take() else handler(request)

    @abstractmethod
    def prevent(self, request: Request, handler: Handler, armed: Armed) -> Response: ...


class Spoiling(Fault):
    """Strikes the answer, if that is a success with a body."""

    def meet(self, request: Request, handler: Handler, armed: Armed) -> Response:
        response = handler(request)
        bodiless = request.method == "HEAD" or not response.length
        if bodiless or response.status not in {200, 206} or not armed.take():
            return response
        return self.spoil(response, request, armed)

    @abstractmethod
    def spoil(self, response: Response, request: Request, armed: Armed) -> Response: ...


class Faults:
    """A handler that lets armed faults at each request, the first armed before the others."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._armed: tuple[Armed, ...] = ()

    def add(self, fault: Fault) -> Armed:
        armed = Armed(fault)
        self._armed = (*self._armed, armed)
        return armed

    def clear(self) -> None:
        """Disarm everything."""
        for armed in self._armed:
            armed.disarm()
        self._armed = ()

    def __call__(self, request: Request) -> Response:
        route = route_of(request.path)
        handler = self._handler
        for armed in reversed(self._armed):
            if armed.fault.concerns(route):
                handler = partial(armed.fault.meet, handler=handler, armed=armed)
        return handler(request)
