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
GLOB = r"^[^\x00-\x1f\x7f]{1,200}$"
MODEL = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
SLOT = r"^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$"
ENGINE = r"^[a-z0-9]([a-z0-9.-]{0,30}[a-z0-9])?$"

END = r"(?!\n)"
"""After a `$`, which here also stands before a last line feed, though not in a browser."""

Namespace = Annotated[str, Meta(pattern=NAMESPACE + END, max_length=63)]
Target = Annotated[str, Meta(pattern=TARGET + END, max_length=193)]
Repo = Annotated[str, Meta(pattern=REPO + END, max_length=193)]
Revision = Annotated[str, Meta(pattern=REVISION + END, max_length=200)]
Store = Annotated[str, Meta(pattern=STORE + END, max_length=32)]
JobId = Annotated[str, Meta(pattern=ULID + END, max_length=26)]
SecretName = Annotated[str, Meta(pattern=SECRET + END, max_length=63)]
Glob = Annotated[str, Meta(min_length=1, max_length=200, pattern=GLOB + END)]
Label = Annotated[str, Meta(pattern=LABEL + END, max_length=100)]
ModelId = Annotated[str, Meta(pattern=MODEL + END, max_length=63)]
Slot = Annotated[str, Meta(pattern=SLOT + END, max_length=30)]
Engine = Annotated[str, Meta(pattern=ENGINE + END, max_length=32)]

# The same, or nothing: a union with "" would put the pattern on both.
MaybeTarget = Annotated[str, Meta(pattern=rf"^({TARGET.strip('^$')})?$" + END, max_length=193)]
MaybeStore = Annotated[str, Meta(pattern=rf"^({STORE.strip('^$')})?$" + END, max_length=32)]
MaybeRepo = Annotated[str, Meta(pattern=rf"^({REPO.strip('^$')})?$" + END, max_length=193)]
MaybeEngine = Annotated[str, Meta(pattern=rf"^({ENGINE.strip('^$')})?$" + END, max_length=32)]
MaybeSecretName = Annotated[str, Meta(pattern=rf"^({SECRET.strip('^$')})?$" + END, max_length=63)]

NamespaceOrAll = Annotated[
    str, Meta(pattern=rf"^({NAMESPACE.strip('^$')}|\*)$" + END, max_length=63)
]

SYSTEM = "system"
"""The namespace of what belongs to no tenant: tokens. No token may be granted it by name."""

ALL = "*"
"""In a token's namespaces: every one of them."""


def weights_id(target: str) -> str:
    """The id of the weights aggregate that owns `target`: safe in a subject, whatever its name."""
    return hashlib.sha256(target.encode()).hexdigest()[:32]


def name_id(name: str) -> str:
    """The id of the aggregate of a model or an alias: safe in a subject, whatever its name."""
    return weights_id(name)


def is_namespace(text: str) -> bool:
    """Whether `text` may name a tenant."""
    return re.fullmatch(NAMESPACE, text) is not None
