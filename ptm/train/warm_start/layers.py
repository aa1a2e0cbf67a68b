"""Select layers of a source model, and describe the ones loaded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from ptm.errors import UserError

T = TypeVar("T")

_LAYER = re.compile(r"encoder_(\d+)(?=\.)")
_LAYER_OR_GROUP = re.compile(r"(encoder|decoder)_(?:group_)?(\d+)\.")


def layers_in(names: Iterable[str]) -> list[int]:
    """Sorted indexes of the encoder layers that have a tensor in `names`."""
    return sorted({int(match[1]) for name in names if (match := _LAYER.match(name))})


def check_layers(
    path: str, chosen: Sequence[int], *, there: Sequence[int], here: Sequence[int]
) -> None:
    """Check that the chosen layers exist in the source and are as many as the recipe has."""
    for layer in chosen:
        if layer not in there:
            raise UserError(
                f"init_from: {path}: the model has no encoder layer {layer}. It has {len(there)} "
                "encoder layers, counted from 0."
            )
    if len(chosen) != len(here):
        raise UserError(
            f"init_from: layers chosen from {path}: {len(chosen)} ({list(chosen)}); layers of "
            f"this recipe's encoder: {len(here)}. Choose {len(here)}."
        )


def unused_names(names: Iterable[str], chosen: Sequence[int]) -> set[str]:
    """Tensor names of the layers that were not chosen; empty if `chosen` is empty."""
    matches = [match for name in names if (match := _LAYER.match(name))] if chosen else []
    return {match.string for match in matches if int(match[1]) not in chosen}


def select_layers(found: Mapping[str, T], layers: Sequence[int]) -> dict[str, T]:
    """`found` with the chosen `layers` renumbered from 0 and all other layers removed."""
    renamed = {}
    for name, tensor in found.items():
        match = _LAYER.match(name)
        if match is None:
            renamed[name] = tensor
        for index, layer in enumerate(layers if match else ()):
            if match and int(match[1]) == layer:
                renamed[f"encoder_{index:02}{name[match.end() :]}"] = tensor
    return renamed


def describe_layers(loaded: Iterable[str], *, fresh: Iterable[str], left: Iterable[str]) -> str:
    """Describe the layers loaded, those left at their initial values, and unused source layers.

    Returns text such as `encoder layers 0-1, layers 2-3 initialised`. A model that shares its
    layers has groups instead.
    """
    groups = (tuple(loaded), tuple(fresh), tuple(left))
    kind = "groups" if any(name.startswith("encoder_group_") for name in groups[0]) else "layers"
    parts = []
    for stack in ("encoder", "decoder"):
        taken, new, over = (_layers(names, stack) for names in groups)
        if not taken:
            continue
        text = f"{stack} {kind} {_ranges(taken)}"
        if new - taken:
            text += f", {kind} {_ranges(new - taken)} initialised"
        if over - taken:
            text += f", source {kind} {_ranges(over - taken)} unused"
        parts.append(text)
    return "; ".join(parts)


def _layers(names: Iterable[str], stack: str) -> set[int]:
    matches = (match for name in names if (match := _LAYER_OR_GROUP.match(name)))
    return {int(match[2]) for match in matches if match[1] == stack}


def _ranges(layers: set[int]) -> str:
    """Layer indexes as ranges, such as `0-3, 5`."""
    parts: list[list[int]] = []
    for layer in sorted(layers):
        if parts and parts[-1][-1] == layer - 1:
            parts[-1].append(layer)
        else:
            parts.append([layer])
    return ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else f"{p[0]}" for p in parts)
