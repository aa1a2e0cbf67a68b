"""Which layers of a source become this model's, and a word for those that were taken."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from ptm.errors import UserError

_LAYER = re.compile(r"encoder_(\d+)(?=\.)")
_LAYER_OR_GROUP = re.compile(r"(encoder|decoder)_(?:group_)?(\d+)\.")


def layers_in(names: Iterable[str]) -> list[int]:
    """Numbers of the encoder layers that have tensors of these names."""
    return sorted({int(match[1]) for name in names if (match := _LAYER.match(name))})


def refuse_layers(
    path: str, chosen: Sequence[int], *, there: Sequence[int], here: Sequence[int]
) -> None:
    """Raise UserError unless each layer here gets one from there."""
    for layer in chosen:
        if layer not in there:
            raise UserError(
                f"init_from: {path}: has no encoder layer {layer}; it has {len(there)}, counted "
                "from 0."
            )
    if len(chosen) != len(here):
        raise UserError(
            f"init_from: takes the layers {list(chosen)} of {path}, which are {len(chosen)}, but "
            f"this recipe's encoder has {len(here)}: choose as many."
        )


def names_left(names: Iterable[str], chosen: Sequence[int]) -> set[str]:
    """Names of the layers that were not chosen, where some were."""
    matches = [match for name in names if (match := _LAYER.match(name))] if chosen else []
    return {match.string for match in matches if int(match[1]) not in chosen}


def chosen_layers(found: Mapping[str, Tensor], layers: Sequence[int]) -> dict[str, Tensor]:
    """The tensors with layers numbered anew; those of layers that were not chosen are dropped."""
    renamed = {}
    for name, tensor in found.items():
        match = _LAYER.match(name)
        if match is None:
            renamed[name] = tensor
        for index, layer in enumerate(layers if match else ()):
            if match and int(match[1]) == layer:
                renamed[f"encoder_{index:02}{name[match.end() :]}"] = tensor
    return renamed


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
    matches = (match for name in names if (match := _LAYER_OR_GROUP.match(name)))
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
