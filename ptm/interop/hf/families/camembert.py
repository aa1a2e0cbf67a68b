"""CamemBERT in transformers (Martin et al. 2019, arXiv:1911.03894): RoBERTa under another name."""

from __future__ import annotations

from ptm.interop.hf.families.roberta import Roberta


class Camembert(Roberta):
    """`CamembertForMaskedLM`: RoBERTa's tensors and positions; imported only."""

    name = "camembert"
    # Exported as RoBERTa, which computes the same function.
    import_only = True
    model_types = ("camembert",)
