"""A server that is no model's, and misbehaves as its environment says. Starts in milliseconds.

FAKE_LOAD: seconds of 503 before it serves. FAKE_LOADED: a file that is there once it may.
FAKE_DIE: the exit code with which it ends at once. FAKE_STUBBORN: it ignores SIGTERM.
FAKE_WORKERS: how many children it has; FAKE_ASTRAY: they are in sessions of their own and inherit
nothing but the environment. FAKE_SAY: what it prints.
"""

import os
import signal
import socket
import sys
import time

READY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
LOADING = b"HTTP/1.1 503 Loading\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def main() -> None:
    port, model = int(sys.argv[1]), sys.argv[2]
    began = time.monotonic()
    print(f"serving {model} on {port}", flush=True)
    print(os.environ.get("FAKE_SAY", ""), flush=True)
    if code := os.environ.get("FAKE_DIE"):
        print("no room for the model", flush=True)
        sys.exit(int(code))
    if os.environ.get("FAKE_STUBBORN"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for _ in range(int(os.environ.get("FAKE_WORKERS", "0"))):
        work()
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            caller, _ = listener.accept()
            loaded = os.path.exists(
                os.environ.get("FAKE_LOADED", "/")
            ) and time.monotonic() - began >= float(os.environ.get("FAKE_LOAD", "0"))
            request = caller.recv(65536)
            if b"GET /hold" in request and os.fork() == 0:
                time.sleep(600)
            caller.sendall(READY if loaded else LOADING)
            caller.close()


def work() -> None:
    """Go on in a child, for ever."""
    if os.fork() != 0:
        return
    if os.environ.get("FAKE_ASTRAY"):
        os.setsid()
        os.closerange(3, 100)
        os.execv(sys.executable, [sys.executable, "-ISc", "import time; time.sleep(600)"])
    time.sleep(600)


if __name__ == "__main__":
    main()
