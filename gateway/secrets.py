"""HTTP for secrets: their names come out, their values only go in."""

from datetime import UTC, datetime

from litestar import Controller, delete, get, put
from litestar.params import JSONBody

from gateway.admission import needs
from gateway.caller import From
from gateway.parameters import Cursor, Limit, SecretPath
from gateway.ports import Handed
from schemas.api.problem import Page
from schemas.api.tokens import SecretBody
from schemas.message import Rejected
from schemas.secrets import SecretInfo


class Secrets(Controller):
    path = "/secrets"
    tags = ("secrets",)

    @get(opt=needs("secrets:read"))
    async def list_(
        self, caller: From, ports: Handed, limit: Limit = 50, cursor: Cursor = None
    ) -> Page[SecretInfo]:
        """List the names of the namespace's secrets. Values are never shown."""
        found = await ports.secrets.list(caller.namespace)
        left = sorted((one for one in found if one.name > (cursor or "")), key=lambda one: one.name)
        page = tuple(left[:limit])
        return Page(page, page[-1].name if len(left) > limit else None)

    @put("/{name:str}", opt=needs("secrets:write"))
    async def set(
        self, name: SecretPath, caller: From, ports: Handed, data: JSONBody[SecretBody]
    ) -> SecretInfo:
        """Keep a secret, in place of the one of that name if there is one."""
        await ports.secrets.set(caller.namespace, name, data.value)
        return SecretInfo(name, datetime.now(UTC))

    @delete("/{name:str}", opt=needs("secrets:write"))
    async def delete(self, name: SecretPath, caller: From, ports: Handed) -> None:
        """Forget a secret."""
        if not await ports.secrets.delete(caller.namespace, name):
            raise Rejected("not_found", f"no secret {name}")
