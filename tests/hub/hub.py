"""The Hub for tests: the loopback Hub with accounts, faults on demand and a recording of it all."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from cli.loopback_hub import HubSettings, LoopbackHub, Repo
from cli.loopback_hub.message import Handler
from tests.hub.access import Access, Account
from tests.hub.arming import Faults
from tests.hub.recording import Recording
from tests.hub.xet_storage import XetStorage


class Hub:
    """A context manager: clients may come from `__enter__` on and are gone after `__exit__`.

    `repos` may be added to while it runs; its repositories may be pushed to.
    """

    faults: Faults
    recording: Recording

    def __init__(
        self,
        *repos: Repo,
        accounts: Iterable[Account] = (),
        settings: HubSettings | None = None,
    ) -> None:
        self.repos = {repo.id: repo for repo in repos}
        self._accounts = tuple(accounts)
        self._hub = LoopbackHub(self.repos, settings, self._around)

    def _around(self, handler: Handler) -> Handler:
        storage = XetStorage(handler, self.repos)
        self.faults = Faults(Access(storage, self.repos, self._accounts))
        self.recording = Recording(self.faults)
        return self.recording

    @property
    def url(self) -> str:
        """What `HF_ENDPOINT` is set to."""
        return self._hub.url

    @property
    def cdn_url(self) -> str:
        return self._hub.cdn_url

    @contextmanager
    def out_of_reach(self) -> Generator[None]:
        """Refuse every connection to the API host, and break those there are."""
        self._hub.api.close()
        try:
            yield
        finally:
            self._hub.api.open()

    def __enter__(self) -> Self:
        self._hub.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.faults.clear()
        self._hub.__exit__(kind, error, trace)
