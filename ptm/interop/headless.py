"""Models that came without the head that their objective has: encoders alone."""

from __future__ import annotations

from collections.abc import Collection

from ptm.errors import UserError


def is_headless(names: Collection[str], *, source: str) -> bool:
    """Whether a model, by its tensors' canonical names, has no head of masked tokens.

    Raises UserError where it has a head of sentence pairs alone, with which no format holds it.
    """
    if any(name.startswith("mlm_") for name in names):
        return False
    if "pair_classifier.weight" in names:
        raise UserError(
            f"{source}: has a head of sentence pairs, but none of masked tokens; it can be "
            "exported with both or with neither."
        )
    return True
