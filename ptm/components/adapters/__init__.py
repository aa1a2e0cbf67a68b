"""Adapters: small matrices that are trained beside frozen weights. `AnyAdapter` is their union."""

from typing import TYPE_CHECKING

from ptm.component import union_of
from ptm.components.adapters.base import Adapter

if TYPE_CHECKING:
    AnyAdapter = Adapter
else:
    AnyAdapter = union_of(__name__, Adapter)

__all__ = ["Adapter", "AnyAdapter"]
