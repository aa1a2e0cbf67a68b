"""XLM-RoBERTa in transformers (Conneau et al. 2020, arXiv:1911.02116): RoBERTa, SentencePiece."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ptm.interop.hf.families.roberta import Roberta
from ptm.recipe import ModelRecipe


class XLMRoberta(Roberta):
    """`XLMRobertaForMaskedLM`: RoBERTa's tensors with a SentencePiece tokenizer."""

    name = "xlm_roberta"

    def priority(self, recipe: ModelRecipe) -> int:
        # Before RoBERTa for a SentencePiece tokenizer, after it for others.
        return 1 if recipe.tokenizer.type == "sentencepiece" else -1

    def matches_checkpoint(self, config: Mapping[str, Any], names: Collection[str]) -> bool:
        return self._is_xlm(config) and any(
            "encoder.layer.0.attention.self.query.weight" in name for name in names
        )

    def matches_config(self, config: Mapping[str, Any]) -> bool:
        return self._is_xlm(config)
