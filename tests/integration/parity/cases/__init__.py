"""The models that are compared with transformers: one table per kind of model.

In the default tables each option of a family is in at least one case; slow tables are matrices.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from tests.integration.parity.cases import albert, bert, causal, encoder_decoders, modernbert

_ENCODERS = (bert, albert, modernbert)
MASKED_EXPORTS = tuple(case for table in _ENCODERS for case in table.EXPORTS)
MASKED_IMPORTS = tuple(case for table in _ENCODERS for case in table.IMPORTS)

EXPORTS = (*MASKED_EXPORTS, *causal.EXPORTS, *encoder_decoders.EXPORTS)
SLOW_EXPORTS = (
    *(case for table in _ENCODERS for case in table.SLOW_EXPORTS),
    *causal.SLOW_EXPORTS,
    *encoder_decoders.SLOW_EXPORTS,
)
IMPORTS = (*MASKED_IMPORTS, *causal.IMPORTS, *encoder_decoders.IMPORTS)
SLOW_IMPORTS = (
    *(case for table in _ENCODERS for case in table.SLOW_IMPORTS),
    *causal.SLOW_IMPORTS,
)

PLAIN_EXPORTS = {case.family: case for case in EXPORTS if not case.name}
PLAIN_IMPORTS = {case.family: case for case in IMPORTS if not case.name}
MISTAKES = {
    **{
        PLAIN_EXPORTS[family]: mistakes
        for table in (*_ENCODERS, causal)
        for family, mistakes in table.MISTAKES.items()
    },
    **encoder_decoders.MISTAKES,
}


def params(default: Iterable[Any], *, slow: Iterable[Any] = ()) -> list[Any]:
    """Cases as parameters of a test."""
    return [
        *(pytest.param(case, id=str(case)) for case in default),
        *(pytest.param(case, id=str(case), marks=pytest.mark.slow) for case in slow),
    ]
