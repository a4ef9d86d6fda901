"""A Hub that tests and benches own: see `Hub`, and `faults` for what can be made to go wrong."""

from cli.loopback_hub import About, HubSettings, Repo
from cli.loopback_hub.route import Kind
from tests.hub.access import Account
from tests.hub.arming import CONTENT, FACTS, Armed
from tests.hub.faults import (
    EVIL_NAMES,
    Cut,
    Drop,
    Garble,
    Hang,
    IgnoreRange,
    RedirectLoop,
    Refuse,
    Slow,
    Stall,
    Truncate,
    WrongCommit,
)
from tests.hub.generated import generated
from tests.hub.hub import Hub
from tests.hub.recording import Exchange, peak

__all__ = [
    "CONTENT",
    "EVIL_NAMES",
    "FACTS",
    "About",
    "Account",
    "Armed",
    "Cut",
    "Drop",
    "Exchange",
    "Garble",
    "Hang",
    "Hub",
    "HubSettings",
    "IgnoreRange",
    "Kind",
    "RedirectLoop",
    "Refuse",
    "Repo",
    "Slow",
    "Stall",
    "Truncate",
    "WrongCommit",
    "generated",
    "peak",
]
