"""A cache of the keys and values of earlier tokens, for generation token by token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

# B rows, H key heads, K cached tokens, S head size.


class KeyValueCache:
    """The keys, values and ids that one attention module has processed so far."""

    def __init__(self) -> None:
        self._seen: tuple[Tensor, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether no token is cached yet."""
        return not self._seen

    @property
    def length(self) -> int:
        """The number of cached tokens per row (K)."""
        return self._seen[0].shape[-2] if self._seen else 0

    @property
    def content(self) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Keys and values (B, H, K, S), example ids (B, K) and segment ids (B, K) or None."""
        key, value, example_ids, *segments = self._seen
        return key, value, example_ids, segments[0] if segments else None

    def append(
        self, key: Tensor, value: Tensor, example_ids: Tensor, segment_ids: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Append these tokens to the cache and return the whole content."""
        segments = () if segment_ids is None else (segment_ids,)
        new: tuple[Tensor, ...] = (key, value, example_ids, *segments)
        if self._seen:
            # The token axis is the last but one of keys and values, and the last of ids.
            axes = (-2, -2, -1, -1)
            new = tuple(
                torch.cat((before, after), dim=axis)
                for before, after, axis in zip(self._seen, new, axes, strict=False)
            )
        self._seen = new
        return self.content

    def reorder(self, rows: Tensor) -> None:
        """Replace the rows by those at indices `rows` (B), as a beam search does."""
        self._seen = tuple(tensor.index_select(0, rows) for tensor in self._seen)


@runtime_checkable
class SupportsCache(Protocol):
    """A module that can use a cache."""

    cache: KeyValueCache | None
    """The cache in use; None to process every call by itself."""


@contextmanager
def use_cache(model: nn.Module) -> Iterator[Sequence[KeyValueCache]]:
    """Context manager: all attention of `model` also attends to the tokens of earlier calls in it.

    Yields the caches, one per module.
    """
    modules = [module for module in model.modules() if isinstance(module, SupportsCache)]
    caches = [KeyValueCache() for _ in modules]
    for module, cache in zip(modules, caches, strict=True):
        module.cache = cache
    try:
        yield caches
    finally:
        for module in modules:
            module.cache = None
