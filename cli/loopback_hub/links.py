"""Links to the second host that look signed, and are: altered or expired, they open nothing."""

import hmac
import secrets
import time
from collections.abc import Callable
from pathlib import PurePosixPath
from urllib.parse import parse_qs, quote, urlencode


class Links:
    """Made and honoured by one hub; `seconds` is how long a link opens its file."""

    def __init__(self, host: Callable[[], str], seconds: float) -> None:
        self.host = host  # the second host's address; asked late, as its port is known late
        self.seconds = seconds
        self._key = secrets.token_bytes(32)

    def sign(self, repo: str, path: str, sha256: str) -> str:
        """The address under which the second host serves a file for a while."""
        location = f"/repos/{repo}/{quote(path, safe='')}/{sha256}"
        name = PurePosixPath(path).name
        query = {
            "response-content-disposition": f'attachment; filename="{name}"',
            "Expires": f"{time.time() + self.seconds:.3f}",
            "Key-Pair-Id": "LOOPBACK",
        }
        signed = query | {"Signature": self._signature(location, query)}
        return f"{self.host()}{location}?{urlencode(signed)}"

    def opens(self, target: str) -> bool:
        location, _, encoded = target.partition("?")
        query = {name: values[0] for name, values in parse_qs(encoded).items()}
        signature = query.pop("Signature", "")
        genuine = hmac.compare_digest(signature, self._signature(location, query))
        return genuine and float(query["Expires"]) > time.time()

    def _signature(self, location: str, query: dict[str, str]) -> str:
        message = f"{location}?{urlencode(query)}".encode()
        return hmac.digest(self._key, message, "sha256").hex()
