"""Model families of transformers: one file each, found by scanning this package."""

from __future__ import annotations

from ptm.component import classes_in
from ptm.interop.hf.base import Family


def families() -> list[Family]:
    """One instance of every `Family` defined in this package."""
    kinds = classes_in(__name__, Family)  # type: ignore[type-abstract]
    return [kind() for kind in kinds]


def model_types() -> list[str]:
    """The values of `model_type` that some family has, sorted."""
    return sorted({name for family in families() for name in family.model_types})
