"""What a server of ours asks for before it answers, so that nobody but the gateway reaches it.

It listens on loopback, where others on the machine are, and other tenants' engines; and when it
dies, its port may soon be another's. The key is derived from one secret of the data directory and
from whose instance it is: nothing has to be kept, or found again, for each of them.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from processors.drafts import drafted
from processors.process import places
from processors.process.places import Place
from schemas.live import Endpoint
from schemas.message import Rejected

BYTES = 32
NAMES = ("LLAMA_API_KEY", "VLLM_API_KEY", "MLLM_ENGINE_KEY")
"""Where engines look for the key that they are to ask for; templates' the last."""


class EngineKeys:
    """`data_dir` is where the secret is, of mode 0600."""

    def __init__(self, data_dir: Path) -> None:
        self._root = places.runtime(data_dir)
        self._secret = b""

    def of(self, place: Place) -> str:
        """The key of an instance. Raises `OSError`."""
        self._secret = self._secret or _secret(self._root / "engines.key")
        whose = f"{place.namespace}/{place.slot}/{place.activation}"
        return hmac.new(self._secret, whose.encode(), hashlib.sha256).hexdigest()

    def variables(self, place: Place) -> Mapping[str, str]:
        """What tells an engine its key. Raises `OSError`."""
        return dict.fromkeys(NAMES, self.of(place))

    def __call__(self, endpoint: Endpoint) -> str:
        """The key of who serves there; empty for what is none of ours, or where it can not be read:
        then the engine refuses."""
        where = (endpoint.namespace, endpoint.slot, endpoint.activation)
        try:
            return self.of(places.place(self._root, *where))
        except (OSError, Rejected):
            return ""


def _secret(path: Path) -> bytes:
    """The secret; whoever comes first makes it."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with drafted(path, secrets.token_bytes(BYTES)) as draft, suppress(FileExistsError):
        path.hardlink_to(draft)
    return path.read_bytes()
