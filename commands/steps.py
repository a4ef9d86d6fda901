"""The commands that one request takes: named after it, and in the same course of events."""

import secrets

import msgspec

from schemas.message import Context


def step(context: Context, name: str) -> Context:
    """A step that is granted once, however often the request is carried out."""
    return msgspec.structs.replace(
        context,
        command=f"{context.command}/{name}",
        correlation=context.correlation or context.command,
        causation=context.causation or context.command,
    )


def anew(context: Context, name: str) -> Context:
    """A step that is decided on every time it comes to that, by how things are then."""
    return step(context, f"{name}-{secrets.token_hex(8)}")
