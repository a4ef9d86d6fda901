"""HTTP for schemas of what people write, for their editors and for `validate` without a server."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

import msgspec
from litestar import Controller, Response, get
from litestar.params import PathParameter

from gateway.admission import needs
from schemas.manifest_reading import manifest_schema
from schemas.message import Rejected
from schemas.names import END

SCHEMA = "application/schema+json"

SchemaPath: TypeAlias = Annotated[
    str, PathParameter(pattern=r"^[a-z][a-z-]{0,62}$" + END, description="A schema's name.")
]

SCHEMAS: Mapping[str, bytes] = {
    "model-manifest": msgspec.json.format(msgspec.json.encode(manifest_schema()), indent=2),
}


class Published(Controller):
    path = "/schemas"
    tags = ("contract",)

    @get("/{name:str}", opt=needs("read"), media_type=SCHEMA)
    async def schema(self, name: SchemaPath) -> Response[Any]:
        """Show a JSON Schema (2020-12): `model-manifest`."""
        if name not in SCHEMAS:
            known = ", ".join(SCHEMAS)
            raise Rejected("not_found", f"there is no schema {name}", remedy=f"there is: {known}")
        headers = {"Cache-Control": "private, max-age=300"}
        return Response(SCHEMAS[name], headers=headers, media_type=SCHEMA)
