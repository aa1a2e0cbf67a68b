"""Byte-level BPE by the package gigatoken, if it is installed: the same ids, many times as fast.

gigatoken (MIT licence) remembers the tokens of words it has met. Only arrays of ids come from it;
offsets, and lists of ids of a few texts, come from the pipeline of the `tokenizers` library.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from ptm.arrays import I64
from ptm.errors import UserError
from ptm.text.tokenizers.tokenizer import PipelineEncoder, concatenate_ids

_PROBES = (
    "".join(map(chr, range(0x250))),
    "we'll say it's 3rd-rate, they'Ve 10,000  of\tthem \r\n\n and more  ",
    " a e\u0301 \u00a0\u2028\u3000|\x85 我们，看书。 กำ각\u1100\u1161 👍🏽 \ufffd\U0010ffff",
    "<s>a</s> <mask><|endoftext|> <pad>",
)
"""Texts with every rule of the split into words."""


def gigatoken_is_installed() -> bool:
    """Whether the package can be imported."""
    return importlib.util.find_spec("gigatoken") is not None


@dataclass(frozen=True)
class GigatokenEncoder(PipelineEncoder):
    """Encodes with a byte-level pipeline without normalizer whose vocabulary has all bytes."""

    @cached_property
    def _fast(self) -> Any:
        """gigatoken's tokenizer. Raises UserError if it has other ids for some probe."""
        # Imported late: it takes longer than the start of most commands.
        import gigatoken

        fast = gigatoken.Tokenizer.from_json(self.pipeline.to_str())
        if fast.encode_batch_list(list(_PROBES), parallel=False) != self.encode(_PROBES):
            version = importlib.metadata.version("gigatoken")
            raise UserError(
                f"The package gigatoken {version} gives other token ids than the tokenizers "
                "library. Uninstall it with `pip uninstall gigatoken`, or install version 0.10."
            )
        return fast

    def encode_arrays(self, texts: Sequence[str]) -> tuple[NDArray[Any], I64]:
        # One thread, as the preprocessing workers already use all cores.
        return concatenate_ids(self._fast.encode_batch_list(list(texts), parallel=False))
