"""What an API server answers when it does not do as asked, as one error with a code."""

import re
from collections.abc import Mapping

import msgspec

from schemas.message import Rejected

MESSAGE_LIMIT = 1000
UNTYPED_PATCH = "failed to create typed patch object"
"""How the server says that a field has the wrong type, under HTTP 500 and without a reason."""

DENIED = re.compile(r'admission webhook "[^"]*" denied the request')
"""How it says that KServe, or a policy, does not want the object: mostly under HTTP 403."""

BUSY = frozenset({408, 429})


REMEDIES: Mapping[str, str] = {
    "cluster_unreachable": "see that it answers: kubectl cluster-info; KUBECONFIG names it",
    "forbidden_cluster": "allow it what deploy/kserve-rbac.yaml does",
    "kserve_missing": "install KServe in the cluster",
}


class ClusterError(Rejected):
    """A cluster that refused or was not there.

    Codes: `cluster_unreachable`, `kserve_missing` (the API is not served), `forbidden_cluster`,
    `conflict` (`fields` are those that somebody else manages), `invalid`, `not_found`, and
    `expired` (a version that is too old to go on from).
    """

    def __init__(self, code: str, message: str, **details: object) -> None:
        super().__init__(code, message, **{"remedy": REMEDIES.get(code, ""), **details})

    @property
    def fields(self) -> tuple[str, ...]:
        return msgspec.convert(self.details.get("fields", ()), tuple[str, ...])


class Cause(msgspec.Struct):
    field: str = ""


class Details(msgspec.Struct):
    causes: tuple[Cause, ...] = ()


class Status(msgspec.Struct):
    """The `Status` object that comes with most refusals."""

    kind: str = ""
    message: str = ""
    code: int = 0
    details: Details | None = None


def refusal(status: int, body: bytes, path: str) -> ClusterError:
    """The error for an answer of `status` (HTTP) to a request for `path`."""
    try:
        said = msgspec.json.decode(body, type=Status)
    except msgspec.MsgspecError:
        return _unsaid(status, path)
    return told(status, said) if said.kind == "Status" else _unsaid(status, path)


def told(status: int, said: Status) -> ClusterError:
    """The error for a `Status` object, which also comes as an event in a watch."""
    message = said.message[:MESSAGE_LIMIT] or f"HTTP {status}"
    if DENIED.match(message):
        return ClusterError("invalid", message)
    if status in (401, 403):
        return ClusterError("forbidden_cluster", f"the cluster does not allow it: {message}")
    if status == 409:
        fields = [cause.field for cause in (said.details or Details()).causes if cause.field]
        return ClusterError("conflict", message, fields=fields)
    if status == 500 and message.startswith(UNTYPED_PATCH):
        return ClusterError("invalid", message)
    return ClusterError(_code(status), message)


def _code(status: int) -> str:
    known = {404: "not_found", 410: "expired", **dict.fromkeys(BUSY, "cluster_unreachable")}
    return known.get(status, "invalid" if 400 <= status < 500 else "cluster_unreachable")


def _unsaid(status: int, path: str) -> ClusterError:
    """A server that serves no such API answers in plain text, and so does one that has too much to
    do, what stands before one that is away, and what is no API server."""
    if status in (401, 403):
        return ClusterError("forbidden_cluster", f"the cluster does not allow it: HTTP {status}")
    if status == 404 and path.startswith("/apis/"):
        api = "/".join(path.split("/")[2:4])
        return ClusterError("kserve_missing", f"the cluster does not serve {api}")
    if status in BUSY or status >= 500:
        return ClusterError("cluster_unreachable", f"the cluster can not answer now: HTTP {status}")
    return ClusterError("cluster_unreachable", f"what answers is no Kubernetes API: HTTP {status}")
