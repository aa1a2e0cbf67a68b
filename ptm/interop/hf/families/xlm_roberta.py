"""XLM-RoBERTa (Conneau et al. 2020) as transformers has it: RoBERTa over SentencePiece."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ptm.interop.hf.families.roberta import Roberta
from ptm.recipe import ModelRecipe


class XLMRoberta(Roberta):
    """`XLMRobertaForMaskedLM`: its tensors are a RoBERTa's, its tokenizer is not."""

    name = "xlm_roberta"

    def preference(self, recipe: ModelRecipe) -> int:
        """Of a tokenizer with SentencePiece, before a RoBERTa."""
        return 1 if recipe.tokenizer.type == "sentencepiece" else -1

    def recognises(self, config: Mapping[str, Any], names: Collection[str]) -> bool:
        """A RoBERTa's tensors, and the config that says so."""
        return self._of_xlm(config) and any(
            "encoder.layer.0.attention.self.query.weight" in name for name in names
        )

    def described_by(self, config: Mapping[str, Any]) -> bool:
        """Its model_type."""
        return self._of_xlm(config)
