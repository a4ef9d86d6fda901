"""Sizes, durations and ages as people write and read them."""

import re
from datetime import datetime

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12} | {
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def parse_size(text: str) -> int:
    """Bytes: `2GiB`, `500MB`, `1.5 G` or a plain number. Raises `ValueError`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]i?)?(?:b(?:/s)?)?", text.strip().lower())
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 2GiB, 500MB or 1048576")
    return int(float(match[1]) * UNITS[match[2] or ""])


def parse_duration(text: str) -> float:
    """Seconds: `90s`, `10m`, `1h30m`, `7d` or a plain number. Raises `ValueError`."""
    text = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not re.fullmatch(r"(\d+(\.\d+)?[smhdw])+", text):
        raise ValueError(f"{text!r} is not a duration such as 90s, 10m or 7d")
    return sum(float(n) * SECONDS[unit] for n, unit in re.findall(r"([\d.]+)([smhdw])", text))


def size(count: float) -> str:
    """`1.2 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def duration(seconds: float) -> str:
    """The two greatest units at most: `45s`, `3m`, `1m30s`, `5h12m`, `12d`."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 600:
        return f"{whole // 60}m" + (f"{whole % 60}s" if whole % 60 else "")
    if whole < 3600:
        return f"{whole // 60}m"
    if whole < 86400:
        return f"{whole // 3600}h" + (f"{whole % 3600 // 60}m" if whole % 3600 >= 60 else "")
    return f"{whole // 86400}d"


def age(then: datetime | None, now: datetime) -> str:
    """How long ago; `-` for never."""
    return "-" if then is None else duration((now - then).total_seconds())
