"""Hashing in order what arrives out of order, with a bounded memory."""

import hashlib
import random
import threading
from functools import partial

import pytest

from processors.fetch.hashing import OrderedHash, Window, new_hash
from processors.fetch.spans import Spans

DATA = random.Random(0).randbytes(200_000)


def test_a_git_blob_is_hashed_with_its_size() -> None:
    hash = new_hash("blob-sha1", 3)
    hash.update(b"abc")

    assert hash.hexdigest() == hashlib.sha1(b"blob 3\0abc").hexdigest()


def test_an_unknown_hash_is_refused() -> None:
    with pytest.raises(ValueError, match="md5"):
        new_hash("md5", 3)


@pytest.mark.parametrize("window", [0, 10_000, 1_000_000])
def test_the_order_of_arrival_does_not_matter(window: int) -> None:
    spans = Spans()
    ordered = OrderedHash(
        new_hash("sha256", len(DATA)), lambda start, end: DATA[start:end], Window(window)
    )
    starts = list(range(0, len(DATA), 1000))
    random.Random(window).shuffle(starts)

    for start in starts:
        piece = DATA[start : start + 1000]
        ordered.keep(start, [piece[:300], piece[300:]], len(piece))
        spans.add(start, start + len(piece))
        ordered.advance(lambda: spans.prefix)

    assert ordered.position == len(DATA)
    assert ordered.hexdigest() == hashlib.sha256(DATA).hexdigest()


def test_what_is_in_memory_is_not_read_again() -> None:
    read: list[tuple[int, int]] = []

    def reading(start: int, end: int) -> bytes:
        read.append((start, end))
        return DATA[start:end]

    ordered = OrderedHash(new_hash("sha256", 3000), reading, Window(2000))

    for start in (2000, 1000, 0):
        ordered.keep(start, [DATA[start : start + 1000]], 1000)
    ordered.advance(lambda: 3000)

    assert read == [(0, 1000)]  # the window was full when it came
    assert ordered.hexdigest() == hashlib.sha256(DATA[:3000]).hexdigest()


def test_memory_that_was_hashed_is_free_again() -> None:
    window = Window(1000)
    ordered = OrderedHash(new_hash("sha256", 5000), lambda start, end: b"", window)

    for start in range(0, 5000, 1000):
        ordered.keep(start, [DATA[start : start + 1000]], 1000)
        assert not window.take(1)
        ordered.advance(partial(int, start + 1000))

    assert ordered.hexdigest() == hashlib.sha256(DATA[:5000]).hexdigest()


def test_many_threads_hash_each_byte_once() -> None:
    spans, lock = Spans(), threading.Lock()
    ordered = OrderedHash(
        new_hash("sha256", len(DATA)), lambda start, end: DATA[start:end], Window(20_000)
    )
    todo = list(range(0, len(DATA), 500))

    def prefix() -> int:
        with lock:
            return spans.prefix

    def work() -> None:
        while True:
            with lock:
                if not todo:
                    return
                start = todo.pop(random.randrange(min(8, len(todo))))
            ordered.keep(start, [DATA[start : start + 500]], 500)
            with lock:
                spans.add(start, start + 500)
            ordered.advance(prefix)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert ordered.hexdigest() == hashlib.sha256(DATA).hexdigest()
