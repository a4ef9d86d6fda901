"""Secrets at rest: files of the owner's alone when embedded, encrypted rows on servers."""

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, LiteralString, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg import AsyncConnection, OperationalError

from processors.drafts import drafted
from schemas.message import Rejected
from schemas.secrets import SecretInfo

Connect: TypeAlias = Callable[[], AbstractAsyncContextManager[AsyncConnection[Any]]]

TABLE: LiteralString = """
    CREATE TABLE IF NOT EXISTS secrets (
        namespace text NOT NULL, name text NOT NULL, value bytea NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (namespace, name)
    )
"""


def unknown(name: str) -> Rejected:
    return Rejected(
        "secret_not_found",
        f"no secret is named {name}",
        remedy=f"set it: mllm secrets set {name}",
    )


class FileSecrets:
    """One file of mode 0600 per secret, `<root>/<namespace>/<name>`. Names are checked outside."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def get(self, namespace: str, name: str) -> str:
        try:
            return await asyncio.to_thread((self._root / namespace / name).read_text)
        except FileNotFoundError as error:
            raise unknown(name) from error

    async def set(self, namespace: str, name: str, value: str) -> None:
        await asyncio.to_thread(self._write, self._root / namespace, name, value)

    async def delete(self, namespace: str, name: str) -> bool:
        try:
            await asyncio.to_thread((self._root / namespace / name).unlink)
        except FileNotFoundError:
            return False
        return True

    async def list(self, namespace: str) -> Sequence[SecretInfo]:
        return await asyncio.to_thread(self._list, self._root / namespace)

    def _write(self, folder: Path, name: str, value: str) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with drafted(folder / name, value.encode()) as draft:
                draft.replace(folder / name)
        except OSError as error:
            raise Rejected("secrets_unavailable", f"the secret can not be kept: {error}") from error

    def _list(self, folder: Path) -> Sequence[SecretInfo]:
        if not folder.is_dir():
            return []
        files = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
        return [SecretInfo(f.name, datetime.fromtimestamp(f.stat().st_mtime, UTC)) for f in files]


class PostgresSecrets:
    """Rows encrypted with AES-256-GCM under `key` (`MLLM_SECRET_KEY`), bound to their names.

    Without a key names can be listed and deleted, and values neither read nor written.
    """

    def __init__(self, connect: Connect, key: str) -> None:
        self._connect = connect
        self._key = hashlib.sha256(key.encode()).digest() if key else b""

    async def get(self, namespace: str, name: str) -> str:
        cipher = self._cipher()
        rows = await self._execute(
            "SELECT value FROM secrets WHERE namespace = %s AND name = %s", namespace, name
        )
        if not rows:
            raise unknown(name)
        return _open(cipher, bytes(rows[0][0]), f"{namespace}/{name}")

    async def set(self, namespace: str, name: str, value: str) -> None:
        await self._execute(
            "INSERT INTO secrets (namespace, name, value) VALUES (%s, %s, %s)"
            " ON CONFLICT (namespace, name) DO UPDATE SET value = excluded.value,"
            " updated_at = now() RETURNING 1",
            namespace,
            name,
            _seal(self._cipher(), value, f"{namespace}/{name}"),
        )

    async def delete(self, namespace: str, name: str) -> bool:
        gone = await self._execute(
            "DELETE FROM secrets WHERE namespace = %s AND name = %s RETURNING 1", namespace, name
        )
        return bool(gone)

    async def list(self, namespace: str) -> Sequence[SecretInfo]:
        rows = await self._execute(
            "SELECT name, updated_at FROM secrets WHERE namespace = %s ORDER BY name", namespace
        )
        return [SecretInfo(name, updated_at) for name, updated_at in rows]

    async def _execute(self, sql: LiteralString, *values: object) -> Sequence[tuple[Any, ...]]:
        try:
            async with self._connect() as db:
                cursor = await db.execute(sql, values)
                return await cursor.fetchall()
        except OperationalError as error:
            raise Rejected("secrets_unavailable", "the secret store does not answer") from error

    def _cipher(self) -> AESGCM:
        if not self._key:
            raise Rejected(
                "secrets_unavailable",
                "there is no key to keep secrets with",
                remedy="set MLLM_SECRET_KEY, the same on every role",
            )
        return AESGCM(self._key)


def _seal(cipher: AESGCM, value: str, name: str) -> bytes:
    nonce = secrets.token_bytes(12)
    return nonce + cipher.encrypt(nonce, value.encode(), name.encode())


def _open(cipher: AESGCM, sealed: bytes, name: str) -> str:
    try:
        return cipher.decrypt(sealed[:12], sealed[12:], name.encode()).decode()
    except InvalidTag as error:
        raise Rejected(
            "secrets_unavailable", "a secret was sealed with another MLLM_SECRET_KEY"
        ) from error
