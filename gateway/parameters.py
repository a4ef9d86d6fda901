"""The parameters that several routes share, and what they may look like."""

from typing import Annotated, TypeAlias

from litestar.params import HeaderParameter, PathParameter, QueryParameter

from schemas.names import END, MODEL, SECRET, SLOT, TARGET, ULID

LAST_POSITION = 2**63 - 1

# Of numbers that may be 0 it says `gt=-1`: Litestar leaves `ge=0` out of its description.

JobPath: TypeAlias = Annotated[
    str, PathParameter(pattern=ULID + END, description="A job's id, a ULID.")
]
TokenPath: TypeAlias = Annotated[
    str, PathParameter(pattern=r"^[A-Za-z0-9]{1,64}$" + END, description="A token's id.")
]
SecretPath: TypeAlias = Annotated[
    str, PathParameter(pattern=SECRET + END, max_length=63, description="A secret's name.")
]
ProjectionPath: TypeAlias = Annotated[
    str, PathParameter(pattern=r"^[a-z_]{1,64}$" + END, description="A read model's name.")
]
WeightsName: TypeAlias = Annotated[
    str, QueryParameter(pattern=TARGET + END, max_length=193, description="The weights' target.")
]
Limit: TypeAlias = Annotated[
    int, QueryParameter(ge=1, le=500, description="Items on a page at most.")
]
Cursor: TypeAlias = Annotated[
    str | None,
    QueryParameter(
        pattern=r"^[A-Za-z0-9_=.:~-]+$" + END,
        max_length=2048,
        description="The `nextCursor` of the page before.",
    ),
]
Text: TypeAlias = Annotated[
    str | None, QueryParameter(pattern=r"^[^\x00-\x1f\x7f]+$" + END, max_length=200)
]
Position: TypeAlias = Annotated[
    int | None, QueryParameter(gt=-1, le=LAST_POSITION, description="A position in the log.")
]
MinSequence: TypeAlias = Annotated[
    int | None,
    QueryParameter(
        gt=-1,
        le=LAST_POSITION,
        description="Wait until the answer holds what was written up to this position.",
    ),
]
MinSequenceHeader: TypeAlias = Annotated[
    int | None, HeaderParameter(name="X-Min-Sequence", gt=-1, le=LAST_POSITION)
]
MOMENT = (
    r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?"
    r"(Z|[+-][0-2][0-9]:[0-5][0-9])"
)
TIME = f"^{MOMENT}$" + END
AsOf: TypeAlias = Annotated[
    str | None,
    QueryParameter(
        pattern=f"^({MOMENT}|(seq:)?[0-9]{{1,18}})$" + END,
        description="How things stood at a time (RFC 3339), or at a position (`seq:4711`).",
    ),
]
ModelPath: TypeAlias = Annotated[
    str, PathParameter(pattern=MODEL + END, max_length=63, description="A model's id.")
]
ModelOrAlias: TypeAlias = Annotated[
    str, PathParameter(pattern=MODEL + END, max_length=63, description="A model's id, or an alias.")
]
AliasPath: TypeAlias = Annotated[
    str, PathParameter(pattern=MODEL + END, max_length=63, description="Another name of a model.")
]
SlotQuery: TypeAlias = Annotated[
    str | None, QueryParameter(pattern=SLOT + END, max_length=30, description="A slot's name.")
]
SlotName: TypeAlias = Annotated[
    str, QueryParameter(pattern=SLOT + END, max_length=30, description="A slot's name.")
]
DryRun: TypeAlias = Annotated[
    bool, QueryParameter(name="dryRun", description="Say what would happen, and do nothing.")
]
