"""Room on a store's file system, and when there is too little of it."""

from schemas.message import Rejected, Value


class Disk(Value):
    """Bytes on the store's file system. `after` is what would stay free."""

    free: int
    reserve: int
    after: int


def refuse_full(store: str, disk: Disk | None) -> None:
    """Raise `Rejected` with `no_space` if less would stay free than the reserve. None is a store
    of which nobody has said how much room it has: its worker finds out."""
    if disk is None or disk.after >= disk.reserve:
        return
    needed = disk.free - disk.after
    raise Rejected(
        "no_space",
        f"store {store} has {disk.free:,} bytes free; {needed:,} more would leave"
        f" {disk.after:,}, less than the reserve of {disk.reserve:,}",
        remedy="delete weights, or lower MLLM_DISK_RESERVE",
        needed=needed,
        free=disk.free,
        reserve=disk.reserve,
    )
