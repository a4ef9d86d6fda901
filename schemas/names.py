"""Names from outside: what may be one, checked once at the edge, relied on everywhere else."""

import hashlib
import re
from typing import Annotated

from msgspec import Meta

NAMESPACE = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
SEGMENT = r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?"
TARGET = rf"^{SEGMENT}(/{SEGMENT})?$"
REPO = rf"^{SEGMENT}(/{SEGMENT})?$"
REVISION = r"^[A-Za-z0-9_][A-Za-z0-9._/-]{0,199}$"
STORE = r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$"
ULID = r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$"
SECRET = r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$"
LABEL = r"^[^\x00-\x1f\x7f]{1,100}$"

Namespace = Annotated[str, Meta(pattern=NAMESPACE, max_length=63)]
Target = Annotated[str, Meta(pattern=TARGET, max_length=193)]
Repo = Annotated[str, Meta(pattern=REPO, max_length=193)]
Revision = Annotated[str, Meta(pattern=REVISION, max_length=200)]
Store = Annotated[str, Meta(pattern=STORE, max_length=32)]
JobId = Annotated[str, Meta(pattern=ULID, max_length=26)]
SecretName = Annotated[str, Meta(pattern=SECRET, max_length=63)]
Glob = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Label = Annotated[str, Meta(pattern=LABEL, max_length=100)]

SYSTEM = "system"
"""The namespace of what belongs to no tenant: tokens. No token may be granted it by name."""

ALL = "*"
"""In a token's namespaces: every one of them."""


def weights_id(target: str) -> str:
    """The id of the weights aggregate that owns `target`: safe in a subject, whatever its name."""
    return hashlib.sha256(target.encode()).hexdigest()[:32]


def is_namespace(text: str) -> bool:
    """Whether `text` may name a tenant."""
    return re.fullmatch(NAMESPACE, text) is not None
