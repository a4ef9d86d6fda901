"""A Hub that tests and benches own, with faults on demand and a record of every request.

with Hub(Repo("org/name", {"model.safetensors": generated(1 << 20)})) as hub:
    cut = hub.faults.add(Cut(path="*.safetensors", times=20, after=(1, 3_000_000)))
    ...  # a client whose HF_ENDPOINT is hub.url
    assert cut.strikes == 20
    assert not any(e.authorization for e in hub.recording.select("cdn"))
"""

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
