"""Server-sent events as a browser parses them."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec


class Message(msgspec.Struct, frozen=True):
    """One message. A comment is one without a type."""

    type: str = ""
    id: str = ""
    data: str = ""
    comment: str = ""

    @property
    def event(self) -> dict[str, Any]:
        """The CloudEvent it carries."""
        event: dict[str, Any] = msgspec.json.decode(self.data)
        return event


async def messages(chunks: AsyncIterator[bytes]) -> AsyncIterator[Message]:
    left = b""
    async for chunk in chunks:
        *whole, left = (left + chunk).split(b"\n\n")
        for text in whole:
            yield parse(text.decode())


def parse(text: str) -> Message:
    fields: dict[str, str] = {}
    for line in text.split("\n"):
        name, _, value = line.partition(":")
        fields[name or "comment"] = value.removeprefix(" ")
    return Message(
        type=fields.get("event", ""),
        id=fields.get("id", ""),
        data=fields.get("data", ""),
        comment=fields.get("comment", ""),
    )
