"""A port on loopback and everyone who has come to it."""

import socket
import threading
from dataclasses import dataclass, field

from cli.loopback_hub.connection import Connection, Pace
from cli.loopback_hub.message import Handler

SEND_BUFFER = 1 << 18  # small, so that hardly more counts as sent than has arrived


@dataclass
class Listener:
    """A port of 127.0.0.1 and the clients that have come to it."""

    name: str
    handler: Handler
    port: int = 0
    bytes_per_second: int | None = None
    _socket: socket.socket | None = None
    _accepting: threading.Thread | None = None
    _serving: dict[Connection, threading.Thread] = field(
        default_factory=dict[Connection, threading.Thread]
    )
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self) -> None:
        """Listen; on the same port as before when it is not the first time."""
        self._socket = socket.create_server(("127.0.0.1", self.port), backlog=512)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.port = self._socket.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, args=[self._socket], daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """Refuse new clients, drop those that are here, and wait until their threads have ended."""
        if self._socket is None or self._accepting is None:
            return
        self._socket.shutdown(socket.SHUT_RDWR)  # closing alone would not wake accept()
        self._accepting.join()
        self._socket.close()
        self._socket = None
        with self._lock:
            serving = dict(self._serving)
        for connection in serving:
            connection.close()
        for thread in serving.values():
            thread.join()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return  # close() has shut it down
            pace = Pace(self.bytes_per_second)
            connection = Connection(client, self.name, self.handler, pace)
            thread = threading.Thread(target=self._serve, args=[connection], daemon=True)
            with self._lock:
                self._serving[connection] = thread
            thread.start()

    def _serve(self, connection: Connection) -> None:
        try:
            connection.serve()
        finally:
            with self._lock:
                del self._serving[connection]
