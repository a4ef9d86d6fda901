"""Events as the API shows them: CloudEvents 1.0 on the stream and in pages of the log."""

from datetime import datetime

import msgspec

from schemas.log import Commit

SPEC_VERSION, CONTENT_TYPE = "1.0", "application/json"


class CloudEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event. `id` is `<position>.<index>`; `data` the event as it is stored."""

    id: str
    source: str
    type: str
    subject: str
    time: datetime
    sequence: int
    namespace: str
    actor: str
    correlationid: str
    data: msgspec.Raw
    specversion: str
    datacontenttype: str
    causationid: str = ""
    traceparent: str = ""


_raw = msgspec.json.Decoder(tuple[msgspec.Raw, ...])


def cloud_events(commit: Commit) -> tuple[CloudEvent, ...]:
    """The events of a commit, of whatever type: this build need not know them."""
    stream = commit.stream
    return tuple(
        CloudEvent(
            id=f"{commit.position}.{index}",
            source=f"/{stream.namespace}/{stream.aggregate}",
            type=kind,
            subject=f"{stream.aggregate}/{stream.id}",
            time=commit.at,
            sequence=commit.position,
            namespace=stream.namespace,
            actor=commit.actor,
            correlationid=commit.correlation,
            causationid=commit.causation,
            traceparent=commit.traceparent,
            data=raw,
            specversion=SPEC_VERSION,
            datacontenttype=CONTENT_TYPE,
        )
        for index, (kind, raw) in enumerate(
            zip(commit.types, _raw.decode(commit.data), strict=True)
        )
    )
