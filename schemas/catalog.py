"""What became of a wish to the catalog, for whoever answers it."""

import msgspec

from schemas.log import Outcome


class ModelChange(msgspec.Struct, frozen=True):
    """A model after its manifest was applied: `outcome` ends with its history.

    `created`: the model is new. `changed`: its manifest is not what it was, or one of its
    aliases is not. `position` is what a reader must have seen to see both.
    """

    outcome: Outcome
    created: bool
    changed: bool
    position: int
