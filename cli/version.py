"""`mllm version`. Knows nothing of servers, so that it answers at once."""

from cli.session import Here

VERSION = "0.1.0"
"""The version in pyproject.toml. Written down again because reading the metadata costs more
than everything else this verb does."""


def version(*, session: Here) -> None:
    """Print the version of this command line. `mllm status` tells the server's."""
    session.printer.value({"version": VERSION}, f"mllm {VERSION}")
