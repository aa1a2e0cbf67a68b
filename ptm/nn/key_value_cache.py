"""Keys and values of tokens that were seen before, so that text is generated token by token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

# B rows, H heads of keys, K tokens seen so far, S size of a head.


class KeyValueCache:
    """What one attention has seen of every row."""

    def __init__(self) -> None:
        self._seen: tuple[Tensor, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was seen yet."""
        return not self._seen

    @property
    def length(self) -> int:
        """Tokens seen so far (K)."""
        return self._seen[0].shape[-2] if self._seen else 0

    @property
    def content(self) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Keys and values (B, H, K, S), example ids and perhaps segment ids (B, K)."""
        key, value, example_ids, *segments = self._seen
        return key, value, example_ids, segments[0] if segments else None

    def extended(
        self, key: Tensor, value: Tensor, example_ids: Tensor, segment_ids: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """The content with these tokens after it."""
        segments = () if segment_ids is None else (segment_ids,)
        new: tuple[Tensor, ...] = (key, value, example_ids, *segments)
        if self._seen:
            # Tokens are the last but one axis of keys and values, the last of ids.
            axes = (-2, -2, -1, -1)
            new = tuple(
                torch.cat((before, after), dim=axis)
                for before, after, axis in zip(self._seen, new, axes, strict=False)
            )
        self._seen = new
        return self.content

    def reorder(self, rows: Tensor) -> None:
        """Go on with these rows (B) of the content: what a beam search keeps."""
        self._seen = tuple(tensor.index_select(0, rows) for tensor in self._seen)


@runtime_checkable
class Cached(Protocol):
    """A module that remembers what it has seen where it is given a cache."""

    cache: KeyValueCache | None


@contextmanager
def remembering(model: nn.Module) -> Iterator[Sequence[KeyValueCache]]:
    """Until it ends, all attention of `model` goes on from the tokens of the calls before."""
    modules = [module for module in model.modules() if isinstance(module, Cached)]
    caches = [KeyValueCache() for _ in modules]
    for module, cache in zip(modules, caches, strict=True):
        module.cache = cache
    try:
        yield caches
    finally:
        for module in modules:
            module.cache = None
