"""What a bearer string says about itself: whose it is, and what must match to believe it."""

import hashlib
import re

ISSUED = re.compile(r"mllm_([A-Za-z0-9]{1,64})_(.+)", re.ASCII | re.DOTALL)


def token_id_and_hash(bearer: str) -> tuple[str, str]:
    """The token's id, and the sha256 (hex) of its secret.

    `mllm_<id>_<secret>` names its id. Any other string, as an operator may choose, is all secret:
    its id is taken from its hash.
    """
    if match := ISSUED.fullmatch(bearer):
        return match[1], _sha256(match[2])
    hash = _sha256(bearer)
    return "b" + hash[:40], hash


def bearer_of(token: str, secret: str) -> str:
    """What the bearer of an issued token shows."""
    return f"mllm_{token}_{secret}"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
