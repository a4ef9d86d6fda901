"""Asking the model that serves, as any client of OpenAI's API would: once, or steadily."""

import json
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from cli.config import config_path, read

PATH = "/serve/active-llm/v1/chat/completions"
SECONDS = 60
TOKENS = 40
WORKERS = 32


def ask(env: Mapping[str, str], question: str, tokens: int = TOKENS) -> str:
    """What the model in the default slot answers. Raises `OSError` and `ValueError`."""
    context = read(config_path(env)).contexts["local"]
    body = {"messages": [{"role": "user", "content": question}], "max_tokens": tokens}
    request = urllib.request.Request(
        context.server + PATH,
        data=json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {context.token}",
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        text: str = json.load(answer)["choices"][0]["message"]["content"]
    return text.strip()


class Asking:
    """Asks so many times a second, from when the block begins until it has ended."""

    def __init__(self, env: Mapping[str, str], rate: float) -> None:
        self._env = env
        self._pause = 1 / rate
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on)
        self._answers: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __enter__(self) -> "Asking":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    @property
    def failed(self) -> int:
        return self._answers["failed"]

    @property
    def summary(self) -> str:
        return f"{self._answers.total()} requests meanwhile, {self.failed} failed"

    def _go_on(self) -> None:
        due = time.monotonic()
        with ThreadPoolExecutor(WORKERS) as pool:
            while not self._over.is_set():
                pool.submit(self._ask)
                due += self._pause
                self._over.wait(max(0.0, due - time.monotonic()))

    def _ask(self) -> None:
        try:
            ask(self._env, "Go on.", tokens=4)
            outcome = "answered"
        except (OSError, ValueError, KeyError, urllib.error.URLError):
            outcome = "failed"
        with self._lock:
            self._answers[outcome] += 1
