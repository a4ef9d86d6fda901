"""What models and slots are called among those who rely on weights.

The names are in stored events (`by` of `weights.referenced`): never rename them.
"""

from typing import NamedTuple


def user_of_model(model: str) -> str:
    return f"model/{model}"


def user_of_slot(slot: str, model: str) -> str:
    """A slot with that model in it."""
    return f"slot/{slot}/{model}"


class SlotUser(NamedTuple):
    slot: str = ""
    model: str = ""


def slot_user(user: str) -> SlotUser:
    """Which slot and model that name stands for; empty when it is no slot's."""
    kind, _, rest = user.partition("/")
    slot, _, model = rest.partition("/")
    return SlotUser(slot, model) if kind == "slot" and slot and model else SlotUser()
