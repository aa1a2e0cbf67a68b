"""The models that are compared with transformers: one table per kind of model.

In the default tables each option of a family is in one case at least; the slow ones are matrices.
"""

from tests.integration.parity.cases import causal, encoder_decoders, encoders

EXPORTS = (*encoders.EXPORTS, *causal.EXPORTS, *encoder_decoders.EXPORTS)
SLOW_EXPORTS = (
    *encoders.SLOW_EXPORTS,
    *causal.SLOW_EXPORTS,
    *encoder_decoders.SLOW_EXPORTS,
)
IMPORTS = (*encoders.IMPORTS, *causal.IMPORTS, *encoder_decoders.IMPORTS)
SLOW_IMPORTS = (*encoders.SLOW_IMPORTS, *causal.SLOW_IMPORTS)

PLAIN_EXPORTS = {case.family: case for case in EXPORTS if not case.name}
PLAIN_IMPORTS = {case.family: case for case in IMPORTS if not case.name}
MISTAKES = {
    **{PLAIN_EXPORTS[family]: found for family, found in encoders.MISTAKES.items()},
    **{PLAIN_EXPORTS[family]: found for family, found in causal.MISTAKES.items()},
    **encoder_decoders.MISTAKES,
}
