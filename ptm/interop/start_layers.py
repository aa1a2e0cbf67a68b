"""What of another model's encoder a training starts from, and whether it means the same here."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ptm.embeddings.position import PositionTable
from ptm.errors import UserError
from ptm.model.build import PlainModel

_LAYER = re.compile(r"encoder_(?:group_)?(\d+)\.")


def layers_taken(loaded: Iterable[str], *, fresh: Iterable[str], left: Iterable[str]) -> str:
    """Which layers were loaded, which had no source and which no place here; of groups: groups."""
    loaded = tuple(loaded)
    taken, new, over = (_layers(names) for names in (loaded, fresh, left))
    kind = "groups" if any(name.startswith("encoder_group_") for name in loaded) else "layers"
    said = f"encoder {kind} {_ranges(taken)}"
    if new - taken:
        said += f", {kind} {_ranges(new - taken)} fresh"
    if over - taken:
        said += f", {kind} {_ranges(over - taken)} of the source left"
    return said


def _layers(names: Iterable[str]) -> set[int]:
    return {int(match[1]) for name in names if (match := _LAYER.match(name))}


def _ranges(layers: set[int]) -> str:
    """0-3, 5."""
    parts: list[list[int]] = []
    for layer in sorted(layers):
        if parts and parts[-1][-1] == layer - 1:
            parts[-1].append(layer)
        else:
            parts.append([layer])
    return ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else f"{p[0]}" for p in parts)


def refuse_other_first_position(path: str, theirs: int, model: PlainModel) -> None:
    """Raise UserError where position 0 was trained in another row of the table than it reads here.

    `theirs`: the source's model.embedding.position_offset.
    """
    for module in model.modules():
        if isinstance(module, PositionTable) and module.offset != theirs:
            raise UserError(
                f"init_from: {path}: its positions were trained with "
                f"model.embedding.position_offset = {theirs}; this recipe says {module.offset}, "
                "so that every position would read another's vector."
            )
