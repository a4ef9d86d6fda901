"""Keeping the values of secrets out of what servers print, wherever that is shown."""

from collections.abc import AsyncIterator, Iterable

MASK = "…"
SHORTEST = 4
"""Letters of a value worth hiding: what is shorter is in any text."""


class Mask:
    """Hides each line of these values, longest first: one may be within another."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        lines = {line.strip() for value in values for line in value.splitlines()}
        hidden = sorted((line for line in lines if len(line) >= SHORTEST), key=len, reverse=True)
        self._hidden = [line.encode(errors="surrogateescape") for line in hidden]
        self._longest = max(map(len, self._hidden), default=0)

    def hide(self, said: bytes) -> bytes:
        for value in self._hidden:
            said = said.replace(value, MASK.encode())
        return said

    async def lines(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The same bytes with the values hidden, also where a chunk ends within one."""
        kept = b""
        async for chunk in chunks:
            said = self.hide(kept + chunk)
            kept = self._begun(said)
            if out := said[: len(said) - len(kept)]:
                yield out
        if kept:
            yield kept

    def _begun(self, said: bytes) -> bytes:
        """The end of `said` that may be how a value begins."""
        last = said[-self._longest :].rpartition(b"\n")[2] if self._hidden else b""
        for start in range(len(last)):
            if any(value.startswith(last[start:]) for value in self._hidden):
                return last[start:]
        return b""
