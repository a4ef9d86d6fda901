"""The child process that fetches files from Xet storage: `python -m processors.fetch.xet_child`.

The first line of stdin is the order, with the token in it, where nobody else on the machine can
read it. What happens is said on stdout, a line each. The end of stdin is the end of the parent,
and of this process with it.
"""

import os
import sys
import threading
from pathlib import Path

import msgspec
from huggingface_hub import HfApi, file_download, hf_hub_url

from processors.fetch.xet_lines import Got, Order, Ordered, Refused, Whole, Wrote, encode


class Ticker:
    """Passes for the progress bar that `xet_get` would draw."""

    def __init__(self, **_: object) -> None:
        self.n = self.total = 0

    def update(self, n: int) -> None:
        _say(Wrote(n))

    def update_transfer(self, n: int) -> None:
        _say(Got(n))

    def set_postfix_str(self, *_: object, **__: object) -> None: ...

    def set_transfer_postfix_str(self, *_: object, **__: object) -> None: ...


def fetch(order: Order, file: Ordered) -> None:
    """Raises whatever huggingface_hub and Xet raise, or LookupError if Xet does not have it."""
    url = hf_hub_url(order.repo, file.path, revision=order.commit, endpoint=order.endpoint)
    api = HfApi(endpoint=order.endpoint, token=order.token or False)
    known = api.get_hf_file_metadata(url=url)
    if known.xet_file_data is None:
        raise LookupError(f"{file.path} is not in Xet storage")
    file_download.xet_get(
        incomplete_path=Path(file.destination),
        xet_file_data=known.xet_file_data,
        headers={"Authorization": f"Bearer {order.token}"} if order.token else {},
        expected_size=file.size,
        tqdm_class=Ticker,  # pyright: ignore[reportArgumentType] # no more of it is called
    )


def main() -> None:
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    threading.Thread(target=_follow_parent, daemon=True).start()
    try:
        for file in order.files:
            fetch(order, file)
            _say(Whole(file.path))
    except Exception as error:  # the kind alone is passed on: its text may hold a signed link
        _say(Refused(type(error).__name__))
        sys.exit(1)


def _say(line: Got | Wrote | Whole | Refused) -> None:
    sys.stdout.buffer.write(encode(line))
    sys.stdout.buffer.flush()


def _follow_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    main()
