"""The gate every stream passes before it touches the network or the disk."""

import threading
from collections.abc import Callable
from typing import TypeAlias

from processors.fetch.errors import FetchError, Halted

Fence: TypeAlias = Callable[[], None]
"""Raises once the lease is no longer held (`Fenced`). Called before every write: keep it cheap."""


class Gate:
    """Open while the lease is held and nobody has closed it; closed for ever after, for one reason.

    Whatever ends a fetch (a caller's stop, a lost lease, a file that cannot be had) closes the
    gate; the first reason wins and is what the fetch as a whole then raises.
    """

    def __init__(self, fence: Fence, on_close: Callable[[], None] = lambda: None) -> None:
        self._fence = fence
        self._on_close = on_close
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._reason: BaseException | None = None

    def __call__(self) -> None:
        """Raise `Halted` if closed. Nothing is written, renamed, unlinked or requested without."""
        if not self._closed.is_set():
            self.keep()
        if self._closed.is_set():
            raise Halted

    def keep(self) -> None:
        """Raise `Halted` if the lease is lost. What has arrived already passes here when the gate
        is closed, too: whoever stops a fetch wants no more of it, and no less."""
        try:
            self._fence()
        except FetchError as lost:
            self.close(lost)
            raise Halted from None

    @property
    def open(self) -> bool:
        return not self._closed.is_set()

    @property
    def held(self) -> bool:
        """Whether the lease still is, open or closed."""
        try:
            self._fence()
        except FetchError:
            return False
        return True

    @property
    def reason(self) -> BaseException:
        """Why the gate is closed."""
        assert self._reason is not None
        return self._reason

    def close(self, reason: BaseException) -> None:
        with self._lock:
            if self._reason is None:
                self._reason = reason
                self._closed.set()
                self._on_close()

    def pause(self, seconds: float) -> None:
        """Sleep, but no longer than the gate stays open."""
        self._closed.wait(seconds)
        self()
