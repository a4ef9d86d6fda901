"""HTTP as uvicorn speaks it, with an end to how long the head of a request may be.

Its parser puts a header together piece by piece, which costs the square of its length: without an
end, one stranger could keep a gateway from everyone else.
"""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_BYTES = 256 * 1024
"""More than a client has to say, and no less than arrives at once: what arrives may hold the end of
a request before it."""

REFUSAL = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"connection: close\r\ncontent-length: 0\r\n\r\n"
)


class Protocol(HttpToolsProtocol):
    """One connection."""

    _within = False
    _bytes = 0

    def on_message_begin(self) -> None:
        self._within, self._bytes = True, 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._within:  # what comes after a body is no header
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._within = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._within and not self.transport.is_closing():
            self._bytes += len(data)
            if self._bytes > MOST_BYTES:
                self.transport.write(REFUSAL)
                self.transport.close()
