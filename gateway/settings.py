"""The gateway's own limits. Every gateway has the defaults; only tests choose others."""

import msgspec


class Settings(msgspec.Struct, frozen=True):
    """`ring_commits` and `ring_bytes` bound what is kept in memory of the event stream;
    `warm_commits` is how much of the past a new process reads into it, for most who come back need
    no more. A connection that is silent for `ping_seconds` is sent a comment, and one whose reader
    takes nothing for `stuck_seconds` is ended. A token may have `most_streams` answers that go on
    here at once. A process whose read models are more than `most_lag` commits behind is not ready.
    """

    ring_commits: int = 4096
    ring_bytes: int = 32 * 1024 * 1024
    warm_commits: int = 2048
    ping_seconds: float = 15.0
    stuck_seconds: float = 30.0
    most_streams: int = 3000
    most_lag: int = 10_000


DEFAULTS = Settings()
