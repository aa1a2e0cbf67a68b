"""Every option of a line changes the recipe or the commands, or is listed without counterpart."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from ptm.errors import UserError
from ptm.translate.huggingface_recipe import TABLES
from ptm.translate.options import Option
from ptm.translate.translate import translate
from ptm.translate.uer_finetuning import FINETUNE
from ptm.translate.uer_trainings import PREPROCESS, PRETRAIN

_VALUES = {"integer": "3", "number": "0.3", "flag": "", "switch": "", "text": "x.txt"}
_MLM = "--target mlm"
_RECURRENT = "--target lm --config_path models/rnn_config.json --embedding word --encoder gru"
_CONVOLUTIONAL = "--target lm --config_path models/gatedcnn_9_config.json --encoder gatedcnn"
_TRANSLATION = "--config_path models/transformer/base_config.json --data_processor mt"
_UER = {
    "--data_processor": ("albert", ""),
    "--target": ("albert", ""),
    "--encoder": ("lstm", _RECURRENT),
    "--embedding": ("word pos", _MLM),
    "--mask": ("causal", "--data_processor prefixlm --mask causal_with_prefix"),
    "--config_path": ("models/bert/tiny_config.json", _MLM),
    "--gpu_ranks": ("1", _MLM),
    "--world_size": ("2", _MLM),
    "--master_ip": ("tcp://h:5", f"{_MLM} --world_size 2 --gpu_ranks 0"),
    "--merges_path": ("m.txt", f"{_MLM} --tokenizer bpe"),
    "--do_lower_case": ("false", _MLM),
    "--span_geo_prob": ("0.3", f"{_MLM} --span_masking"),
    "--span_max_length": ("3", f"{_MLM} --span_masking"),
    "--relative_attention_buckets_num": ("16", f"{_MLM} --relative_position_embedding"),
    "--layernorm_eps": ("1e-3", f"{_MLM} --layernorm rms"),
    "--layernorm_positioning": ("pre", _MLM),
    "--bidirectional": ("", _RECURRENT),
    "--kernel_size": ("5", _CONVOLUTIONAL),
    "--block_size": ("3", _CONVOLUTIONAL),
    "--hidden_size": ("96", _MLM),
    "--deepspeed_config": ("models/deepspeed_zero3_config.json", f"{_MLM} --deepspeed"),
    "--enable_zero3": ("", f"{_MLM} --deepspeed"),
    "--pipeline_model_parallel_size": ("2", f"{_MLM} --world_size 2"),
    "--fp16_opt_level": ("O0", f"{_MLM} --fp16"),
    "--tie_weights": ("", f"{_MLM} --config_path models/bert_base_config.json"),
    "--tgt_embedding": ("word", _TRANSLATION),
    "--share_embedding": ("", "--target t5 --config_path models/t5_small_config.json"),
    "--tgt_tokenizer": ("char", _TRANSLATION),
    "--tgt_vocab_path": ("w.txt", _TRANSLATION),
    "--tgt_do_lower_case": ("false", _TRANSLATION),
    "--tgt_merges_path": ("m.txt", f"{_TRANSLATION} --tgt_tokenizer bpe"),
    "--has_lmtarget_bias": ("", _TRANSLATION),
    "--tgt_seq_length": ("100", _TRANSLATION),
    "--seq_length": ("100", _MLM),
    "--max_seq_length": ("600", _MLM),
    "--optimizer": ("adafactor", _MLM),
    "--scheduler": ("cosine", _MLM),
    "--tokenizer": ("char", _MLM),
    "--backend": ("gloo", _MLM),
    "--lr_decay": ("0.3", f"{_MLM} --scheduler tri_stage"),
    "--beta1": ("0.3", _MLM),
}
"""Option to a value, and the options without which it has no meaning."""
_MEAN = "--pooling mean"
_FINETUNING = {
    "--epochs_num": ("5", ""),
    "--encoder": ("lstm", f"--config_path models/rnn_config.json --encoder gru {_MEAN}"),
    "--bidirectional": ("", f"--config_path models/rnn_config.json --encoder gru {_MEAN}"),
    "--kernel_size": ("5", f"{_CONVOLUTIONAL} {_MEAN}"),
    "--block_size": ("3", f"{_CONVOLUTIONAL} {_MEAN}"),
    "--mask": ("causal", _MEAN),
    **{
        f"--{name}": (value, "")
        for name, value in (
            *(("tgt_embedding", "word"), ("tgt_tokenizer", "char"), ("tgt_vocab_path", "w.txt")),
            *(("tgt_merges_path", "m.txt"), ("tgt_do_lower_case", "false")),
            *(("has_lmtarget_bias", ""), ("share_embedding", "")),
        )
    },
}
"""Option of run_classifier.py to a value, and the options without which it has no meaning."""
_IMPLIED = ("--factorized_embedding_parameterization",)
"""An embedding of another width than the encoder is always projected."""
_HUGGINGFACE = {
    "--model_name_or_path": ("bert-large-uncased", ""),
    "--config_name": ("bert-large-uncased", ""),
    "--tokenizer_name": ("bert-base-cased", ""),
    "--config_overrides": ("num_hidden_layers=3", ""),
    "--fp16_opt_level": ("O0", "--fp16"),
    "--max_seq_length": ("100", ""),
    "--block_size": ("100", ""),
    "--optim": ("adafactor", ""),
    "--report_to": ("wandb", ""),
    "--dtype": ("bfloat16", ""),
    "--metric_for_best_model": ("loss", ""),
    "--num_train_epochs": ("2", ""),
    "--warmup_ratio": ("0.3", ""),
    "--logging_steps": ("5", ""),
    "--save_steps": ("5", ""),
    "--eval_steps": ("5", ""),
    "--mean_noise_span_length": ("4", ""),
}
"""Option to a value, and the options without which it has no meaning."""
_WITHOUT_EFFECT = ("--model_type", "--mlm", "--do_train", "--do_predict")
"""Beside a model, or in a training, these change nothing."""
_MODELS = {
    "run_mlm.py": ("bert-base-uncased", "bert-large-uncased", "num_hidden_layers=3"),
    "run_clm.py": ("gpt2", "gpt2-medium", "n_layer=3"),
    "run_language_modeling.py": ("bert-base-uncased --mlm", "bert-large-uncased", ""),
    "run_t5_mlm_flax.py": ("t5-small", "t5-base", ""),
}
"""Script to a model, another one, and an override."""


def _outcome(text: str) -> tuple[str, list[str], list[tuple[str, str]]]:
    """Recipes without their comments, commands, and what has no counterpart; or an error."""
    try:
        translation = translate(text, recipe_path="r.yaml")
    except UserError as error:
        return str(error), [], []
    recipes = "".join(recipe.draft.yaml() for recipe in translation.recipes)
    return re.sub(r" +# .*", "", recipes), translation.commands, translation.notes


def _usual(option: Option) -> str:
    return option.choices[-1] if option.choices else _VALUES[option.kind]


@pytest.mark.parametrize(
    ("program", "table"), [("preprocess.py", PREPROCESS), ("pretrain.py", PRETRAIN)]
)
def test_options_of_uer_py(program: str, table: Mapping[str, Option]) -> None:
    for option in table.values():
        if option.name in _IMPLIED:
            continue
        value, context = _UER.get(option.name, (_usual(option), _MLM))
        other = "" if program == "pretrain.py" else f"\npython3 pretrain.py {context}"
        shared = context if program == "pretrain.py" else ""
        lines = [
            f"python3 {program} --vocab_path v.txt {shared} {words}{other}"
            for words in (f"{option.name} {value}", "")
        ]
        assert _outcome(lines[0]) != _outcome(lines[1]), lines[0]


def test_options_of_run_classifier() -> None:
    start = "python3 run_classifier.py --vocab_path v.txt --train_path a.tsv --dev_path b.tsv"
    for option in FINETUNE.values():
        if option.name in _IMPLIED:
            continue
        usual = _UER.get(option.name, (_usual(option), ""))
        value, context = _FINETUNING.get(option.name, usual)
        context = context.replace(_MLM, "")
        lines = [f"{start} {context} {words}" for words in (f"{option.name} {value}", "")]
        assert _outcome(lines[0]) != _outcome(lines[1]), lines[0]


@pytest.mark.parametrize("program", TABLES)
def test_options_of_hugging_face(program: str, tmp_path: Path) -> None:
    config = tmp_path / "ds.json"
    config.write_text(json.dumps({"zero_optimization": {"stage": 3}}))
    model, other, overrides = _MODELS[program]
    values = {
        **_HUGGINGFACE,
        "--model_name_or_path": (other, ""),
        "--config_name": (other, ""),
        "--config_overrides": (overrides, ""),
        "--deepspeed": (str(config), ""),
    }
    for option in TABLES[program].values():
        if option.name in _WITHOUT_EFFECT:
            continue
        value, context = values.get(option.name, (_usual(option), ""))
        start = f"python3 {program} --model_name_or_path {model} {context}"
        assert _outcome(f"{start} {option.name} {value}") != _outcome(start), option.name
