"""The options of Hugging Face's scripts: masked, causal and T5 language models.

run_language_modeling.py (2020), run_mlm.py, run_clm.py, run_t5_mlm_flax.py, and transformers'
TrainingArguments.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ptm.translate.options import Kind, Option

_CACHE = "a store is built once and is never in a cache"
_WHOLE = "a training reads the whole corpus; give a smaller file"
_HUB_DATA = "corpora are text files; write the texts to a file, one document on a line"
_RUN = "a run with the same name continues; `--fresh` starts again"
_AUTOMATIC = "it is chosen by itself"


def _option(name: str, kind: Kind = "text", **others: Any) -> Option:
    return Option(name, kind, tool="huggingface", **others)


_MODEL = (
    _option("--model_name_or_path", key="`init_from`, the block `model`"),
    _option("--model_type", key="the block `model`: the family's published sizes"),
    _option("--config_name", key="the block `model`"),
    _option("--tokenizer_name", key="the block `tokenizer`"),
    _option("--cache_dir", why="set the environment variable HF_HOME"),
    _option("--model_revision", why="a Hub model is read at its newest revision"),
    _option("--use_fast_tokenizer", "switch", why="every tokenizer is a fast one"),
    _option("--trust_remote_code", "switch", why="no code is loaded from the Hub"),
    _option("--torch_dtype", why="weights are loaded in fp32", former=("--dtype",)),
    _option("--low_cpu_mem_usage", "switch", why="weights are memory-mapped"),
    _option("--use_auth_token", "switch", why="log in with `hf auth login`"),
    _option("--token", why="log in with `hf auth login`"),
)
_OVERRIDES = _option("--config_overrides", key="the block `model`: n_embd=…, n_layer=…")
_DATA = (
    _option("--dataset_name", why=_HUB_DATA),
    _option("--dataset_config_name", why=_HUB_DATA),
    _option("--train_file", key="`data.corpus`"),
    _option("--validation_file", key="`data.evaluation.validation.corpus`"),
    _option(
        "--validation_split_percentage",
        "integer",
        key="`data.held_out`, as a share",
        default=5,
    ),
    _option("--preprocessing_num_workers", "integer", copied_to="data.workers"),
    _option("--max_train_samples", "integer", why=_WHOLE),
    _option("--max_eval_samples", "integer", why=_WHOLE),
    _option("--streaming", "switch", why="the store is memory-mapped, not streamed"),
    _option("--overwrite_cache", "switch", why=_CACHE),
)
_RATE = _option("--mlm_probability", "number", key="`objective.masking.rate`", default=0.15)
_LINES = _option("--line_by_line", "switch", key="`objective.concatenate: false`", default=False)
_OUTPUT = (
    _option("--output_dir", key="`runs_dir`, `name`", default="runs/model"),
    _option("--overwrite_output_dir", "switch", why=_RUN),
    _option("--do_train", "switch", key="`ptm train`, `ptm launch`"),
    _option("--do_eval", "switch", key="a training evaluates; alone: `ptm evaluate`"),
    _option("--do_predict", "switch", key="`ptm fill`, `ptm generate`"),
)
_OPTIMIZER = (
    _option("--learning_rate", "number", copied_to="optimizer.learning_rate", default=5e-5),
    _option("--weight_decay", "number", copied_to="optimizer.weight_decay", default=0.0),
    _option("--adam_beta1", "number", copied_to="optimizer.beta1", default=0.9),
    _option("--adam_beta2", "number", copied_to="optimizer.beta2", default=0.999),
    _option("--adam_epsilon", "number", copied_to="optimizer.epsilon", default=1e-8),
    _option("--max_grad_norm", "number", copied_to="train.gradient_clipping", default=1.0),
    _option("--num_train_epochs", "number", copied_to="train.epochs", default=3.0),
    _option("--max_steps", "integer", copied_to="train.steps", default=-1),
    _option("--warmup_steps", "number", key="`schedule.warmup`, in steps", default=0),
    _option("--warmup_ratio", "number", key="`schedule.warmup`, as a share", default=0.0),
    _option(
        "--lr_scheduler_type",
        key="`schedule.type`",
        default="linear",
        choices=(
            *("linear", "cosine", "cosine_with_restarts", "polynomial", "constant"),
            *("constant_with_warmup", "inverse_sqrt", "warmup_stable_decay"),
        ),
        former_choices=("reduce_lr_on_plateau", "cosine_with_min_lr"),
    ),
    _option("--lr_scheduler_kwargs", why="set the keys of `schedule` in the recipe"),
    _option(
        "--label_smoothing_factor",
        "number",
        why="`objective.label_smoothing` is a key of `seq2seq` only",
    ),
    _option(
        "--optim",
        key="`optimizer.type`: adamw_*: `adamw`; adafactor, lion_*: `lion`",
        default="adamw_torch",
    ),
    _option("--adafactor", "switch", key="`optimizer.type: adafactor`", default=False),
)
_BATCH = (
    _option(
        "--per_device_train_batch_size",
        "integer",
        key="`train.micro_batch_size`; times ranks and accumulation: `train.global_batch_size`",
        default=8,
        former=("--per_gpu_train_batch_size", "--train_batch_size"),
    ),
    _option(
        "--per_device_eval_batch_size",
        "integer",
        why="an evaluation has micro-batches of `train.micro_batch_size`",
        former=("--per_gpu_eval_batch_size", "--eval_batch_size"),
    ),
    _option(
        "--gradient_accumulation_steps",
        "integer",
        key="`train.global_batch_size` / (ranks x `train.micro_batch_size`)",
        default=1,
    ),
)
_INTERVALS = (
    _option("--logging_steps", "number", key="`tracking.log_every`", default=500),
    _option("--logging_strategy", why="`tracking.log_every` counts steps"),
    _option("--logging_first_step", "switch", why="the first step is always logged"),
    _option("--logging_dir", why="TensorBoard's files are in the run's folder"),
    _option("--save_steps", "number", key="`checkpoint.every`", default=500),
    _option("--save_strategy", why="`checkpoint.every` counts steps; the last is always saved"),
    _option(
        "--save_total_limit",
        "integer",
        key="`checkpoint.keep`; without it `checkpoint.keep_every`",
    ),
    _option("--save_only_model", "switch", why="a checkpoint holds the whole state"),
    _option("--save_safetensors", "switch", why="`ptm export --format` chooses the format"),
    _option("--eval_steps", "number", key="`tracking.evaluate_every`"),
    _option(
        "--eval_strategy",
        why="`tracking.evaluate_every` counts steps; the last is always evaluated",
        former=("--evaluation_strategy",),
    ),
    _option(
        "--evaluate_during_training",
        "switch",
        why="`tracking.evaluate_every` counts steps; the last is always evaluated",
    ),
)
_MACHINE = (
    _option("--seed", "integer", copied_to="seed", default=42),
    _option("--data_seed", "integer", why="one seed: `seed`"),
    _option("--bf16", "switch", key="`engine.precision: bf16`", default=False),
    _option("--fp16", "switch", key="`engine.precision: fp16`", default=False),
    _option(
        "--fp16_opt_level",
        key="`engine.precision`: fp16; O0: fp32",
        default="O1",
        choices=("O0", "O1", "O2", "O3"),
    ),
    _option("--tf32", "switch", why="torch's own setting: torch.set_float32_matmul_precision"),
    _option("--deepspeed", key="`engine.deepspeed`, `engine.precision`"),
    _option("--fsdp", why="ZeRO 3 shards as FSDP does: `engine.deepspeed: zero3`"),
    _option("--fsdp_config", why="ZeRO 3 shards as FSDP does: `engine.deepspeed: zero3`"),
    _option(
        "--gradient_checkpointing",
        "switch",
        copied_to="engine.activation_checkpointing",
        default=False,
    ),
    _option("--torch_compile", "switch", why="models are not compiled"),
    _option("--no_cuda", "switch", why="hide the GPUs: CUDA_VISIBLE_DEVICES="),
    _option("--use_cpu", "switch", why="hide the GPUs: CUDA_VISIBLE_DEVICES="),
    _option("--local_rank", "integer", why="the launcher passes each rank its number"),
    _option("--ddp_find_unused_parameters", "switch", why="every parameter has a gradient"),
    _option("--ddp_timeout", "integer", key="`engine.timeout_minutes`"),
    _option("--dataloader_num_workers", "integer", why=_AUTOMATIC),
    _option("--dataloader_pin_memory", "switch", why=_AUTOMATIC),
    _option("--dataloader_drop_last", "switch", why="every row of an epoch is used"),
    _option("--group_by_length", "switch", why="packed rows have no padding to save"),
    _option("--remove_unused_columns", "switch", why="a store holds tokens only"),
)
_REPORTS = (
    _option(
        "--report_to",
        key="`tracking.wandb`, `tracking.tensorboard`, `tracking.mlflow`, `tracking.swanlab`",
        many=True,
        default=["none"],
    ),
    _option("--run_name", copied_to="name"),
    _option("--resume_from_checkpoint", why=_RUN),
    _option(
        "--load_best_model_at_end",
        "switch",
        key="`checkpoint.best`; the best checkpoint is `--step best`",
        default=False,
    ),
    _option("--metric_for_best_model", copied_to="checkpoint.best"),
    _option("--greater_is_better", "switch", why="a metric declares whether higher is better"),
    _option("--push_to_hub", "switch", why="`ptm export --to hf` writes a folder to upload"),
    _option("--hub_model_id", why="`ptm export --to hf` writes a folder to upload"),
    _option("--hub_token", why="`ptm export --to hf` writes a folder to upload"),
    _option("--disable_tqdm", "switch", why="logs have no progress bar"),
)

TRAINING_ARGUMENTS = (
    *_OUTPUT,
    *_OPTIMIZER,
    *_BATCH,
    *_INTERVALS,
    *_MACHINE,
    *_REPORTS,
)
RUN_MLM = (
    *_MODEL,
    _OVERRIDES,
    *_DATA,
    _option("--max_seq_length", "integer", copied_to="data.sequence_length"),
    _RATE,
    _LINES,
    _option("--pad_to_max_length", "switch", key="`data.packing: false`", default=False),
)
RUN_CLM = (
    *_MODEL,
    _OVERRIDES,
    *_DATA,
    _option("--block_size", "integer", copied_to="data.sequence_length"),
    _option(
        "--keep_linebreaks",
        "switch",
        why="a line is a document, and ends with the end token",
    ),
)
RUN_LANGUAGE_MODELING = (
    *_MODEL,
    _option("--train_data_file", key="`data.corpus`"),
    _option("--train_data_files", key="`data.corpus`"),
    _option("--eval_data_file", key="`data.evaluation.validation.corpus`"),
    _LINES,
    _option("--mlm", "switch", key="`objective.type`: mlm; without it lm", default=False),
    _RATE,
    _option("--plm_probability", "number", why="permutation language models are not implemented"),
    _option("--max_span_length", "integer", why="permutation language models are not implemented"),
    _option("--whole_word_mask", "switch", key="`objective.masking.unit: whole_word`"),
    _option("--block_size", "integer", copied_to="data.sequence_length", default=-1),
    _option("--overwrite_cache", "switch", why=_CACHE),
)
RUN_T5_MLM_FLAX = (
    *_MODEL,
    *_DATA,
    _option("--max_seq_length", "integer", copied_to="data.sequence_length", default=512),
    replace(_RATE, key="`objective.noise.rate`"),
    _option(
        "--mean_noise_span_length", "number", copied_to="objective.noise.mean_length", default=3.0
    ),
    _option("--dtype", key="`engine.precision`: float32, bfloat16, float16", default="float32"),
)
