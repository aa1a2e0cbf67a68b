"""Encoders, one class per file. `AnyEncoder` is their union, collected by scanning this
package."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ptm.component import members, union_of
from ptm.components.encoders.base import Encoder

if TYPE_CHECKING:
    AnyEncoder = Encoder
else:
    AnyEncoder = union_of(__name__, Encoder)


def encoder_types() -> Mapping[str, type[Encoder]]:
    """All encoders by their type."""
    return members(__name__, Encoder)  # type: ignore[type-abstract]


__all__ = ["AnyEncoder", "Encoder", "encoder_types"]
