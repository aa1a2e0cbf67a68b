"""Durations in readable form."""

from __future__ import annotations


def clock(seconds: float) -> str:
    """A duration as `h:mm:ss`, or `m:ss` below an hour."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


_UNITS = ((86400, "day"), (3600, "hour"), (60, "min"), (1, "s"))


def ago(seconds: float) -> str:
    """A duration in its largest unit: `3 min`, `1 hour`, `12 days`."""
    whole = max(0, int(seconds))
    for size, name in _UNITS:
        if whole >= size or size == 1:
            count = whole // size
            plural = "s" if count != 1 and name in ("day", "hour") else ""
            return f"{count} {name}{plural}"
    raise AssertionError("every duration has a unit")
