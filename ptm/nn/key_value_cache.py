"""Caches for generation token by token: keys and values of earlier tokens, or the last state."""

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


class StateCache:
    """The last state of one recurrent or convolutional module: tensors (B, …) of any kind."""

    def __init__(self) -> None:
        self.content: tuple[Tensor, ...] = ()
        """The tensors last given to `replace`."""

    @property
    def is_empty(self) -> bool:
        """Whether no state is cached yet."""
        return not self.content

    def replace(self, *state: Tensor) -> None:
        """Cache `state` instead of the earlier one."""
        self.content = state

    def reorder(self, rows: Tensor) -> None:
        """Replace the rows by those at indices `rows` (B), as a beam search does."""
        self.content = tuple(tensor.index_select(0, rows) for tensor in self.content)


Cache = KeyValueCache | StateCache


@runtime_checkable
class SupportsCache(Protocol):
    """A module that can use a cache of keys and values."""

    cache: KeyValueCache | None
    """The cache in use; None to process every call by itself."""


@runtime_checkable
class SupportsStateCache(Protocol):
    """A module that can continue from a cached state."""

    state_cache: StateCache | None
    """The cache in use; None to process every call by itself."""


@contextmanager
def use_cache(model: nn.Module) -> Iterator[Sequence[Cache]]:
    """Context manager: every call of `model` in it continues the tokens of the earlier calls.

    Yields the caches, one per module.
    """
    attending = [module for module in model.modules() if isinstance(module, SupportsCache)]
    stateful = [module for module in model.modules() if isinstance(module, SupportsStateCache)]
    caches: list[Cache] = []
    for module in attending:
        module.cache = KeyValueCache()
        caches.append(module.cache)
    for other in stateful:
        other.state_cache = StateCache()
        caches.append(other.state_cache)
    try:
        yield caches
    finally:
        for module in attending:
            module.cache = None
        for other in stateful:
            other.state_cache = None
