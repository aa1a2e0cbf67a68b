"""The programs whose options `ptm translate` knows, for the page of options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ptm.translate import (
    former_options,
    huggingface_options,
    scripts,
    tencentpretrain_options,
    uer_options,
)
from ptm.translate.options import Option


def programs() -> Mapping[str, Sequence[Option]]:
    """Title of a section to the options of its program, each once."""
    groups = {
        "UER-py: preprocess.py": uer_options.PREPROCESS,
        "UER-py: pretrain.py": uer_options.PRETRAIN,
        "UER-py: fine-tuning and inference": (*uer_options.FINETUNE, *uer_options.INFER),
        "UER-py before 2022": (*former_options.PREPROCESS, *former_options.PRETRAIN),
        "TencentPretrain: preprocess.py, more than UER-py's": tencentpretrain_options.PREPROCESS,
        "TencentPretrain: pretrain.py, more than UER-py's": tencentpretrain_options.PRETRAIN,
        "scripts/build_vocab.py": scripts.BUILD_VOCAB,
        "scripts/dynamic_vocab_adapter.py": scripts.ADAPT_VOCAB,
        "scripts/convert_*.py": scripts.CONVERT,
        "scripts/average_models.py": scripts.AVERAGE,
        "scripts/diff_vocab.py": scripts.COMPARE,
        "run_mlm.py": huggingface_options.RUN_MLM,
        "run_clm.py": huggingface_options.RUN_CLM,
        "run_language_modeling.py": huggingface_options.RUN_LANGUAGE_MODELING,
        "run_t5_mlm_flax.py": huggingface_options.RUN_T5_MLM_FLAX,
        "TrainingArguments": huggingface_options.TRAINING_ARGUMENTS,
    }
    return {
        title: list({option.name: option for option in options}.values())
        for title, options in groups.items()
    }
