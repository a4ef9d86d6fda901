"""One HTTP/1.1 client, served by one thread; file bytes go straight from the page cache."""

import os
import socket
import struct
import time
from collections.abc import Mapping

from cli.loopback_hub.message import (
    Handler,
    Hangup,
    Piece,
    Request,
    Response,
    Span,
    length_of,
    part_of,
)

MOST_AT_ONCE = 1 << 20  # bytes per system call: large enough to be cheap, small enough to count
MOST_HEAD = 1 << 16
CREDIT_SECONDS = 0.05  # how much lost time a paced connection may catch up


class Pace:
    """Spreads bytes evenly over time. Without a rate it only bounds how much goes at once."""

    def __init__(self, bytes_per_second: int | None) -> None:
        self._rate = bytes_per_second
        self._due: float | None = None

    def grant(self, wanted: int) -> int:
        """Wait until more may go, and say how many of the wanted bytes."""
        if self._rate is None:
            return min(wanted, MOST_AT_ONCE)
        count = min(wanted, MOST_AT_ONCE, max(1, self._rate // 100))
        now = time.monotonic()
        due = now if self._due is None else self._due
        if due > now:
            time.sleep(due - now)
        self._due = max(due, now - CREDIT_SECONDS) + count / self._rate
        return count


def parse_head(head: bytes) -> tuple[str, str, Mapping[str, str]]:
    """Method, target and headers; raises Hangup if this is not HTTP/1.1 as clients speak it."""
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in fields}
    words = first.split(" ")
    well_formed = len(words) == 3 and headers.get("content-length", "0").isdecimal()
    if not well_formed or "host" not in headers:
        raise Hangup
    return words[0], words[1], headers


class Connection:
    """One client, served request after request until either side leaves."""

    def __init__(self, client: socket.socket, host: str, handler: Handler, pace: Pace) -> None:
        self._socket = client
        self._host = host
        self._handler = handler
        self._pace = pace
        self._received = bytearray()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def serve(self) -> None:
        with self._socket:
            try:
                while request := self._next_request():
                    if not self._answer(request):
                        break
            except Hangup as hangup:
                if hangup.reset:
                    immediately = struct.pack("ii", 1, 0)
                    self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, immediately)
            except OSError:
                return  # the client broke the connection, or close() did

    def close(self) -> None:
        """Wake the thread that serves this client, whatever it waits for."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # already gone

    def _next_request(self) -> Request | None:
        while (end := self._received.find(b"\r\n\r\n")) < 0:
            if len(self._received) > MOST_HEAD or not self._receive():
                return None
        method, target, headers = parse_head(bytes(self._received[:end]))
        stop = end + 4 + int(headers.get("content-length", "0"))
        while len(self._received) < stop:
            if not self._receive():
                return None
        body = bytes(self._received[end + 4 : stop])
        del self._received[:stop]
        return Request(self._host, method, target, headers, body, self._client_left)

    def _receive(self) -> bool:
        data = self._socket.recv(MOST_HEAD)
        self._received += data
        return bool(data)

    def _client_left(self) -> bool:
        try:
            return self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _answer(self, request: Request) -> bool:
        """Send the response; whether the connection can take another request after it."""
        response = self._handler(request)
        try:
            complete = self._send_response(response, request.method == "HEAD")
        finally:
            response.body.close()
            response.ended()
        return complete and request.headers.get("connection", "").lower() != "close"

    def _send_response(self, response: Response, head_only: bool) -> bool:
        bodiless = head_only or response.length == 0
        self._socket.sendall(response.head(), 0 if bodiless else socket.MSG_MORE)
        return bodiless or self._send_body(response) == response.length

    def _send_body(self, response: Response) -> int:
        total = 0
        for piece in response.body:
            done = 0
            while left := length_of(piece) - done:
                count = self._send(part_of(piece, done, self._pace.grant(left)))
                response.sent(count)
                done += count
            total += done
        return total

    def _send(self, piece: Piece) -> int:
        if not isinstance(piece, Span):
            return self._socket.send(piece)
        sent = os.sendfile(self._socket.fileno(), piece.descriptor, piece.offset, piece.length)
        if sent == 0:
            raise Hangup  # the file has become shorter than it was said to be
        return sent
