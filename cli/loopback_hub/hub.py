"""The Hub on loopback, assembled: repositories behind an API host and a second host for LFS."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from cli.loopback_hub.links import Links
from cli.loopback_hub.listener import Listener
from cli.loopback_hub.message import Handler
from cli.loopback_hub.protocol import Protocol
from cli.loopback_hub.repository import Repo


@dataclass(frozen=True)
class HubSettings:
    api_port: int = 0  # 0: any free one
    cdn_port: int = 0
    cdn_name: str = "127.0.0.1"  # what links to the second host call it; it is on loopback anyhow
    page: int = 1000  # entries of a tree at once
    link_seconds: float = 3600
    bytes_per_second: int | None = None  # on each connection


def unchanged(handler: Handler) -> Handler:
    return handler


class LoopbackHub:
    """A context manager: clients may come from `__enter__` on and are gone after `__exit__`.

    Repositories are looked up by id at each request, so more may be added while it runs. `around`
    may wrap the handler that answers on both hosts.
    """

    def __init__(
        self,
        repos: Mapping[str, Repo],
        settings: HubSettings | None = None,
        around: Callable[[Handler], Handler] = unchanged,
    ) -> None:
        self.settings = settings or HubSettings()
        links = Links(lambda: self.cdn_url, self.settings.link_seconds)
        self.protocol = Protocol(repos, self.settings.page, links)
        handler = around(self.protocol)
        rate = self.settings.bytes_per_second
        self.api = Listener("api", handler, self.settings.api_port, rate)
        self.cdn = Listener("cdn", handler, self.settings.cdn_port, rate)

    @property
    def url(self) -> str:
        """What `HF_ENDPOINT` is set to."""
        return f"http://127.0.0.1:{self.api.port}"

    @property
    def cdn_url(self) -> str:
        return f"http://{self.settings.cdn_name}:{self.cdn.port}"

    def __enter__(self) -> Self:
        self.cdn.open()
        self.api.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.api.close()
        self.cdn.close()
