"""A commit as a message on the wire: the one subject of its aggregate, and its headers by name.

For who keeps the log, and who follows it without reading it. The names are the stored form: add,
never rename.
"""

from schemas.log import Stream

TYPES = "Mllm-Types"
ACTOR = "Mllm-Actor"
CORRELATION = "Mllm-Correlation"
CAUSATION = "Mllm-Causation"
WRITTEN = "Mllm-At"
PREVIOUS = "Mllm-Previous"
TRACEPARENT = "traceparent"


def subject_of(root: str, stream: Stream) -> str:
    """The one literal subject of an aggregate. Raises `Rejected` with `invalid`."""
    return f"{root}.{stream.path}"


def stream_of(subject: str) -> Stream:
    """The aggregate whose subject that is, whatever its root."""
    return Stream(*subject.split(".")[-3:])
