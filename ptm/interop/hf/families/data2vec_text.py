"""data2vec for text in transformers (Baevski et al. 2022, arXiv:2202.03555): a RoBERTa encoder."""

from __future__ import annotations

import re

from ptm.interop.hf.families.roberta import Roberta


class Data2VecText(Roberta):
    """`Data2VecTextForMaskedLM`: RoBERTa's tensors under another prefix; imported only."""

    name = "data2vec_text"
    # Exported as RoBERTa, which computes the same function.
    import_only = True
    model_types = ("data2vec-text",)
    head_pattern = r"(data2vec_text\.)?pooler\.|classifier\.|qa_outputs\."

    def qualified_name(self, name: str) -> str:
        return super().qualified_name(re.sub(r"^data2vec_text\.", "roberta.", name))
