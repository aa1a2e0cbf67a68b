"""The keys `labels` and `class_weights` of objectives that predict classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, Tag

from ptm.component import Listed, NonNegativeFloat
from ptm.text.labels import LabelSet


def _as_name(value: Any) -> Any:
    """YAML reads a label such as 100 as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


# Without these, an error would be repeated for each form that a value may have.


def _form_of_labels(value: Any) -> str:
    return "list[name]" if isinstance(value, list | tuple) else "int"


def _form_of_weights(value: Any) -> str:
    return "dict[name]" if isinstance(value, dict) else "list[number]"


_Name = Annotated[str, BeforeValidator(_as_name)]
Labels = Annotated[
    Annotated[int, Field(ge=2, le=100_000), Tag("int")]
    | Annotated[tuple[_Name, ...], Listed, Tag("list[name]")],
    Discriminator(_form_of_labels),
]
ClassWeights = Annotated[
    Annotated[tuple[NonNegativeFloat, ...], Listed, Tag("list[number]")]
    | Annotated[dict[str, NonNegativeFloat], Tag("dict[name]")],
    Discriminator(_form_of_weights),
]


Names = Annotated[tuple[_Name, ...], Listed]


def label_set(labels: int | tuple[str, ...], *, ignored: tuple[str, ...] = ()) -> LabelSet:
    """The labels that values of the keys `labels` and `ignored_labels` declare."""
    if isinstance(labels, int):
        return LabelSet(tuple(map(str, range(labels))), numbered=True, ignored=ignored)
    return LabelSet(labels, ignored=ignored)


def check_names(names: Sequence[str]) -> None:
    """Raise ValueError for fewer than two labels, repeated ones, and ones no corpus can contain."""
    if len(names) < 2:
        raise ValueError("labels: give at least two labels")
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(f'labels: "{name}" is listed twice')
        if not name or name != name.strip() or "\t" in name or "\n" in name:
            raise ValueError(
                f'labels: "{name}" is empty, begins or ends with a space, or contains a TAB '
                "or a line end, so no corpus can contain it"
            )


def weight_of_each(
    weights: tuple[float, ...] | dict[str, float] | None, names: Sequence[str]
) -> tuple[float, ...]:
    """The weight of each class, in the order of `names`.

    Raises ValueError if `weights` do not fit the names, or are all 0.
    """
    if weights is None:
        return (1.0,) * len(names)
    if isinstance(weights, dict):
        different = sorted(set(names) ^ set(weights))
        if different:
            raise ValueError(
                f"class_weights: {', '.join(different)} is not in both labels and "
                "class_weights. Give one weight per label"
            )
        weights = tuple(weights[name] for name in names)
    if len(weights) != len(names):
        raise ValueError(
            f"class_weights: {len(weights)} weights are given for {len(names)} labels. Give one "
            "weight per label"
        )
    if not any(weights):
        raise ValueError("class_weights: all weights are 0, so nothing would be learned")
    return weights
