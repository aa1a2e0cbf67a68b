"""Recipes of lines of Hugging Face's scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from ptm.errors import UserError
from ptm.interop.hf.families import families
from ptm.recipe import load_recipe
from ptm.translate.huggingface_models import OF_TYPE
from ptm.translate.huggingface_recipe import t5_target_length
from ptm.translate.steps import Translation
from ptm.translate.translate import translate

_MLM = "python run_mlm.py --model_name_or_path bert-base-chinese --train_file a.txt"


def _translated(text: str) -> Translation:
    return translate(text, recipe_path="r.yaml")


def _data(text: str) -> dict[str, Any]:
    return _translated(text).recipes[0].draft.data


def _at(data: dict[str, Any], key: str) -> Any:
    value: Any = data
    for name in key.split("."):
        value = value[name]
    return value


@pytest.mark.parametrize("kind", OF_TYPE)
def test_the_sizes_of_a_model_type_are_those_of_transformers(kind: str) -> None:
    config = transformers.AutoConfig.for_model(kind).to_dict()
    (family,) = [one for one in families() if one.matches_config({"model_type": kind})]
    assert family.blocks(OF_TYPE[kind], {}) == family.blocks(config, {})


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "python run_mlm.py --model_name_or_path hfl/chinese-roberta-wwm-ext --train_file a.txt "
            "--validation_file b.txt --max_seq_length 128 --mlm_probability 0.2 --do_train "
            "--output_dir out/dapt --preprocessing_num_workers 4",
            {
                "name": "dapt",
                "runs_dir": "out",
                "objective.type": "mlm",
                "objective.concatenate": True,
                "objective.masking.rate": 0.2,
                "objective.masking.dynamic": True,
                "data.sequence_length": 128,
                "data.evaluation.validation.corpus": "b.txt",
                "data.held_out": 0.0,
                "data.workers": 4,
                "init_from": "imports/chinese-roberta-wwm-ext",
                "tokenizer.vocab": "imports/chinese-roberta-wwm-ext/tokenizer/vocab.txt",
                "train.epochs": 3.0,
                "train.global_batch_size": 8,
                "optimizer.learning_rate": 5e-5,
                "optimizer.weight_decay": 0.0,
                "seed": 42,
            },
        ),
        (
            "python run_mlm.py --model_type bert --tokenizer_name bert-x --train_file a.txt "
            "--line_by_line --pad_to_max_length --max_steps 500 --warmup_steps 50",
            {
                "objective.concatenate": False,
                "data.packing": False,
                "train.steps": 500,
                "schedule.warmup": 50,
                "data.held_out": 0.05,
                "data.sequence_length": 512,
            },
        ),
        (
            "torchrun --nproc_per_node 4 run_clm.py --model_name_or_path gpt2 --train_file a.txt "
            "--per_device_train_batch_size 2 --gradient_accumulation_steps 3 --bf16 "
            "--block_size 256 --gradient_checkpointing True --warmup_ratio 0.06 "
            "--lr_scheduler_type cosine",
            {
                "objective.type": "lm",
                "objective.head.tied": True,
                "train.global_batch_size": 24,
                "train.micro_batch_size": 2,
                "engine.precision": "bf16",
                "engine.activation_checkpointing": True,
                "data.sequence_length": 256,
                "schedule.type": "cosine",
                "schedule.warmup": 0.06,
                "model.init.residual_scaling": True,
            },
        ),
        (
            "python run_clm.py --model_type gpt2 --tokenizer_name gpt2 --train_file a.txt "
            "--config_overrides n_embd=1024,n_head=16,n_layer=24",
            {
                "model.encoder.layers": 24,
                "model.encoder.hidden_size": 1024,
                "data.sequence_length": 1024,
                "tokenizer.merges": "imports/gpt2/tokenizer/merges.txt",
            },
        ),
        (
            "python run_language_modeling.py --model_name_or_path roberta-base --mlm "
            "--train_data_file a.txt --eval_data_file b.txt --per_gpu_train_batch_size 4 "
            "--evaluate_during_training --save_total_limit 5 --output_dir x",
            {
                "objective.type": "mlm",
                "model.embedding.position_offset": 2,
                "data.sequence_length": 512,
                "train.global_batch_size": 4,
                "checkpoint.keep": 5,
            },
        ),
        (
            "python run_language_modeling.py --model_name_or_path gpt2 --train_data_file a.txt",
            {"objective.type": "lm"},
        ),
        (
            "python run_t5_mlm_flax.py --model_type t5 --config_name google/t5-v1_1-base "
            "--tokenizer_name google/t5-v1_1-base --train_file a.txt --max_seq_length 512 "
            "--mean_noise_span_length 4 --mlm_probability 0.2 --adafactor --learning_rate 0.005 "
            "--warmup_steps 2000 --dtype bfloat16",
            {
                "objective.type": "t5",
                "objective.noise": {"spans": "t5", "rate": 0.2, "mean_length": 4.0},
                "objective.head.tied": False,
                "optimizer.type": "adafactor",
                "engine.deepspeed": "zero0",
                "engine.precision": "bf16",
                "model.encoder.feed_forward": "gated",
                "schedule.warmup": 2000,
            },
        ),
        (
            f"{_MLM} --load_best_model_at_end --metric_for_best_model eval_loss --optim adamw_8bit "
            "--report_to wandb tensorboard --run_name trial --eval_steps 20 --logging_steps 10",
            {
                "checkpoint.best": "loss",
                "tracking.wandb": {},
                "tracking.tensorboard": True,
                "name": "trial",
                "tracking.evaluate_every": 20,
                "tracking.log_every": 10,
            },
        ),
        (f"CUDA_VISIBLE_DEVICES=0,1,2 {_MLM}", {"train.global_batch_size": 24}),
    ],
)
def test_lines_of_the_scripts(line: str, expected: dict[str, Any], tmp_path: Path) -> None:
    draft = _translated(line).recipes[0].draft
    assert {key: _at(draft.data, key) for key in expected} == expected
    path = tmp_path / "recipe.yaml"
    path.write_text(draft.yaml(), encoding="utf-8")
    assert load_recipe(str(path)) == draft.validated()


@pytest.mark.parametrize("suffix", [".json", ".csv"])
def test_json_lines_and_tables_are_read_by_their_column(suffix: str) -> None:
    data = _data(_MLM.replace("a.txt", f"a{suffix}"))
    assert _at(data, "data.corpus") == f"a{suffix}"
    assert _at(data, "data.text_field") == "text"
    assert "text_field" not in _at(_data(_MLM), "data")


def test_commands_import_the_model_of_the_hub() -> None:
    assert _translated(f"{_MLM} --output_dir out/x --do_train").commands == [
        "ptm import bert-base-chinese imports/bert-base-chinese --from hf",
        "ptm validate r.yaml",
        "ptm preprocess r.yaml",
        "ptm train r.yaml",
        "ptm export out/x out/x-hf --to hf",
    ]


def test_an_evaluation_alone_is_ptm_evaluate() -> None:
    commands = _translated(f"{_MLM} --do_eval --max_seq_length 128").commands
    assert commands[-1].startswith("ptm evaluate imports/bert-base-chinese data.corpus=a.txt")
    assert not any(command.startswith(("ptm train", "ptm launch")) for command in commands)


def test_hosts_of_torchrun_are_a_hostfile() -> None:
    line = f"torchrun --nproc_per_node 8 --nnodes 2 --master_addr 10.0.0.1 {_MLM[7:]}"
    recipe = _translated(line).recipes[0]
    assert recipe.hostfile_text is not None
    assert recipe.hostfile_text.splitlines()[1:] == ["10.0.0.1 slots=8", "node-1 slots=8"]
    assert recipe.draft.data["train"]["global_batch_size"] == 128


def test_a_local_folder_has_its_own_sizes_and_tokenizer(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    config = {**OF_TYPE["bert"], "num_hidden_layers": 5}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    data = _data(f"python run_mlm.py --model_name_or_path {folder} --train_file a.txt")
    assert data["model"]["encoder"]["layers"] == 5
    assert data["init_from"] == str(folder)
    assert data["tokenizer"]["vocab"] == str(folder / "vocab.txt")
    assert data["tokenizer"]["lowercase"] is False


def test_a_deepspeed_config_sets_stage_offload_and_precision(tmp_path: Path) -> None:
    path = tmp_path / "ds.json"
    zero = {"stage": 2, "offload_optimizer": {"device": "cpu"}}
    path.write_text(json.dumps({"zero_optimization": zero, "bf16": {"enabled": True}}))
    engine = _data(f"deepspeed --num_gpus 2 {_MLM[7:]} --deepspeed {path}")["engine"]
    assert engine == {"deepspeed": "zero2-offload", "precision": "bf16"}


def test_target_lengths_of_t5() -> None:
    # From run_t5_mlm_flax.py's compute_input_and_target_lengths(512, 0.15, 3.0): 568 and 114; the
    # target here also has the closing sentinel.
    assert t5_target_length(512, rate=0.15, mean_length=3.0) == 115


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("run_mlm.py", "no option names a model"),
        ("run_mlm.py --model_type electra", "--model_type electra is not supported"),
        ("run_mlm.py --model_name_or_path someone/model", "`ptm import someone/model model"),
        ("run_mlm.py --model_name_or_path ./absent/model", "./absent/model: does not exist"),
        ("run_mlm.py --config_name absent/config.json", "absent/config.json"),
        ("run_mlm.py --model_type bert --tokenizer_name ./absent", "./absent: does not exist"),
        ("run_clm.py --model_name_or_path bert-base-chinese", "visibility"),
        ("run_clm.py --model_type gpt2 --config_overrides n_embed=4", '"n_embed=4" is not'),
        ("run_clm.py --model_type gpt2 --config_overrides n_embd=x", '"n_embd=x" is not int'),
        ("run_mlm.py --model_type bert --optim sgd", "--optim sgd has no counterpart"),
        ("run_mlm.py --model_type bert --save_steps 0.5", "is a share of the steps"),
        ("run_mlm.py --model_type bert --deepspeed d.json", "d.json: cannot be read"),
        ("run_t5_mlm_flax.py --model_type t5 --dtype int8", '"int8" is not one of'),
        ("run_mlm.py --model_type bert --per_device_batch 4", "Did you mean"),
    ],
)
def test_what_cannot_be_translated_is_an_error(options: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        _translated(f"python {options}")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("--dataset_name wikitext", "corpora are text files"),
        ("--streaming", "memory-mapped"),
        ("--overwrite_output_dir", "`--fresh` starts again"),
        ("--torch_compile", "not compiled"),
        ("--report_to comet_ml", "trackers are W&B, TensorBoard, MLflow and SwanLab"),
    ],
)
def test_what_has_no_counterpart_is_listed(written: str, reason: str) -> None:
    notes = _translated(f"{_MLM} {written}").notes
    assert [(found, reason in why) for found, why in notes] == [(written, True)]
