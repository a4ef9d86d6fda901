"""An engine that is no model's: it says who it is. `engine.py PORT NAME WEIGHTS`.

ENGINE_LOAD: seconds before it serves. ENGINE_HOLD: it does not serve while this file is there.
ENGINE_DIE: it ends at once, with this exit code.
"""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BEGAN = time.monotonic()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        held = os.path.exists(os.environ.get("ENGINE_HOLD", ""))
        loaded = not held and time.monotonic() - BEGAN >= float(os.environ.get("ENGINE_LOAD", "0"))
        self._answer(200 if loaded else 503, {"status": "ok" if loaded else "loading"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        time.sleep(0.05)
        self._answer(200, {"model": sys.argv[2], "pid": os.getpid()})

    def _answer(self, status: int, body: object) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def main() -> None:
    if code := os.environ.get("ENGINE_DIE"):
        sys.exit(int(code))
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()


if __name__ == "__main__":
    main()
