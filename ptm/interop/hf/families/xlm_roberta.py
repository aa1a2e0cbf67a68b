"""XLM-RoBERTa in transformers (Conneau et al. 2020, arXiv:1911.02116): RoBERTa, SentencePiece."""

from __future__ import annotations

from ptm.interop.hf.families.roberta import Roberta
from ptm.recipe import ModelRecipe


class XLMRoberta(Roberta):
    """`XLMRobertaForMaskedLM`: RoBERTa's tensors with a SentencePiece tokenizer."""

    name = "xlm_roberta"
    model_types = ("xlm-roberta",)

    def priority(self, recipe: ModelRecipe) -> int:
        # Before RoBERTa for a SentencePiece tokenizer, after it for others.
        return 1 if recipe.tokenizer.type == "sentencepiece" else -1
