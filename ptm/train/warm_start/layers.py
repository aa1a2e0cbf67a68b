"""Which layers of another model a training starts from, in words."""

from __future__ import annotations

import re
from collections.abc import Iterable

_LAYER = re.compile(r"(encoder|decoder)_(?:group_)?(\d+)\.")


def layers_taken(loaded: Iterable[str], *, fresh: Iterable[str], left: Iterable[str]) -> str:
    """Which layers were loaded, which had no source and which no place here; of groups: groups."""
    told = (tuple(loaded), tuple(fresh), tuple(left))
    kind = "groups" if any(name.startswith("encoder_group_") for name in told[0]) else "layers"
    parts = []
    for stack in ("encoder", "decoder"):
        taken, new, over = (_layers(names, stack) for names in told)
        if not taken:
            continue
        said = f"{stack} {kind} {_ranges(taken)}"
        if new - taken:
            said += f", {kind} {_ranges(new - taken)} fresh"
        if over - taken:
            said += f", {kind} {_ranges(over - taken)} of the source left"
        parts.append(said)
    return "; ".join(parts)


def _layers(names: Iterable[str], stack: str) -> set[int]:
    matches = (match for name in names if (match := _LAYER.match(name)))
    return {int(match[2]) for match in matches if match[1] == stack}


def _ranges(layers: set[int]) -> str:
    """0-3, 5."""
    parts: list[list[int]] = []
    for layer in sorted(layers):
        if parts and parts[-1][-1] == layer - 1:
            parts[-1].append(layer)
        else:
            parts.append([layer])
    return ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else f"{p[0]}" for p in parts)
