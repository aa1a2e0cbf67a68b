"""The blocks of a recipe that only training needs, from a line of a Hugging Face script."""

from __future__ import annotations

from pathlib import Path

from ptm.errors import UserError
from ptm.interop.folders import read_config
from ptm.translate.draft import Draft
from ptm.translate.options import Given
from ptm.translate.ranks import Ranks
from ptm.translate.uer_deepspeed import (
    WHOLE_MATRICES,
    config_name,
    set_whole_matrices,
    zero_of,
)

_SCHEDULES = {
    "cosine_with_restarts": "cosine",
    "constant_with_warmup": "constant",
    "warmup_stable_decay": "wsd",
}
_OPTIMIZERS = {"adamw": "adamw", "adafactor": "adafactor", "lion": "lion"}
"""Beginning of `--optim` to the optimizer's type here."""
_PRECISIONS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


def copy_option(draft: Draft, given: Given, name: str) -> None:
    """Set the key that takes the option's value unchanged."""
    draft.set(given.table[name].copied_to, given.get(name), origin_of(given, name))


def origin_of(given: Given, name: str) -> str:
    """Where the value of an option comes from, as a comment."""
    option = given.table[name].name
    return option if given.has(name) else f"default of {option}"


def set_optimizer(draft: Draft, given: Given) -> None:
    """Set `optimizer` and `schedule`. Raises UserError for one that has no counterpart."""
    optim = "adafactor" if given.get("adafactor") else given.get("optim")
    kind = next((ours for begin, ours in _OPTIMIZERS.items() if begin in optim), None)
    if kind is None:
        raise UserError(
            f"{given.command.place}: --optim {optim} has no counterpart. Supported: adamw_*, "
            "adafactor, lion_*."
        )
    draft.set(
        "optimizer.type", kind, origin_of(given, "adafactor" if given.get("adafactor") else "optim")
    )
    copy_option(draft, given, "learning_rate")
    copy_option(draft, given, "weight_decay")
    if kind == "adafactor":
        draft.set("optimizer.relative_step", False)
        draft.set("optimizer.scale_parameter", given.command.program == "run_t5_mlm_flax.py")
    else:
        for name in ("adam_beta1", "adam_beta2", "adam_epsilon"):
            if name != "adam_epsilon" or kind == "adamw":
                copy_option(draft, given, name)
    scheduler = given.get("lr_scheduler_type")
    if scheduler in ("reduce_lr_on_plateau", "cosine_with_min_lr"):
        raise UserError(
            f"{given.command.place}: --lr_scheduler_type {scheduler} has no counterpart."
        )
    kind = _SCHEDULES.get(scheduler, scheduler)
    draft.set("schedule.type", kind, origin_of(given, "lr_scheduler_type"))
    name = "warmup_steps" if given.get("warmup_steps") else "warmup_ratio"
    if scheduler != "constant":
        draft.set("schedule.warmup", _whole(given.get(name)), origin_of(given, name))


def _whole(number: float) -> float | int:
    """A number, as an integer if it is one."""
    return int(number) if float(number).is_integer() and number else float(number)


def huggingface_ranks(given: Given) -> Ranks:
    """The ranks of the launcher; without one, transformers uses every visible GPU."""
    command = given.command
    visible = command.environment.get("CUDA_VISIBLE_DEVICES")
    world = command.launched_ranks
    if world is None:
        world = len([one for one in (visible or "").split(",") if one.strip()]) or 1
    hosts = command.launched_hosts
    if hosts > 1:
        address = command.launcher.get("master_addr") or command.launcher.get("main_process_ip")
        names = [address or "node-0", *(f"node-{number}" for number in range(1, hosts))]
        return Ranks(dict.fromkeys(names, world // hosts), world, visible)
    return Ranks({}, world, visible)


def set_train(draft: Draft, given: Given, ranks: Ranks) -> None:
    """Set `train`."""
    if given.get("max_steps") > 0:
        copy_option(draft, given, "max_steps")
    else:
        copy_option(draft, given, "num_train_epochs")
    batch, accumulated = (
        given.get("per_device_train_batch_size"),
        given.get("gradient_accumulation_steps"),
    )
    draft.set(
        "train.global_batch_size",
        batch * ranks.world_size * accumulated,
        f"--per_device_train_batch_size {batch} x {ranks.world_size} ranks x "
        f"--gradient_accumulation_steps {accumulated}",
    )
    draft.set("train.micro_batch_size", batch, origin_of(given, "per_device_train_batch_size"))
    if given.command.program == "run_t5_mlm_flax.py" and not given.has("max_grad_norm"):
        draft.set("train.gradient_clipping", 0.0, "the script does not clip")
    else:
        copy_option(draft, given, "max_grad_norm")


def set_engine(draft: Draft, given: Given) -> None:
    """Set `engine`. Raises UserError for a DeepSpeed config that cannot be read."""
    config = given.values.get("deepspeed") or given.command.launcher.get("deepspeed_config_file")
    if config is not None:
        stage, offloads, precision = zero_of(read_config(Path(config)))
        draft.set("engine.deepspeed", config_name(stage, offloads=offloads), config)
        draft.set("engine.precision", precision, config)
    optimizer = draft.data["optimizer"]["type"]
    if optimizer in WHOLE_MATRICES:
        set_whole_matrices(draft, optimizer)
    if given.has("dtype") and given.table["dtype"].key:
        dtype = given.get("dtype")
        if dtype not in _PRECISIONS:
            names = ", ".join(_PRECISIONS)
            raise UserError(f'{given.command.place}: --dtype: "{dtype}" is not one of {names}.')
        draft.set("engine.precision", _PRECISIONS[dtype], "--dtype")
    for name in ("bf16", "fp16"):
        if given.get(name) and not (name == "fp16" and given.get("fp16_opt_level") == "O0"):
            draft.set("engine.precision", name, f"--{name}")
    mixed = given.command.launcher.get("mixed_precision")
    if mixed in ("bf16", "fp16"):
        draft.set("engine.precision", mixed, "--mixed_precision")
    if given.get("gradient_checkpointing"):
        copy_option(draft, given, "gradient_checkpointing")
    if given.has("ddp_timeout"):
        draft.set("engine.timeout_minutes", given.get("ddp_timeout") / 60, "--ddp_timeout")


def set_intervals(draft: Draft, given: Given) -> None:
    """Set `checkpoint` and `tracking`. Raises UserError for an interval below one step."""
    for name, key in (("save_steps", "checkpoint.every"), ("logging_steps", "tracking.log_every")):
        value = given.get(name)
        if value < 1:
            raise UserError(
                f"{given.command.place}: {given.written[name]} is a share of the steps. Give a "
                "number of steps."
            )
        draft.set(key, int(value), origin_of(given, name))
    limit = given.get("save_total_limit")
    if limit:
        draft.set("checkpoint.keep", limit, "--save_total_limit")
    else:
        every = draft.data["checkpoint"]["every"]
        draft.set("checkpoint.keep_every", every, "without --save_total_limit all are kept")
    if given.get("load_best_model_at_end") or given.has("metric_for_best_model"):
        _set_best(draft, given)
    every = given.get("eval_steps") or given.get("logging_steps")
    if every >= 1:
        origin = origin_of(given, "eval_steps" if given.get("eval_steps") else "logging_steps")
        draft.set("tracking.evaluate_every", int(every), origin)
    reports = [one for text in given.get("report_to") for one in text.split(",")]
    if {"wandb", "all"} & set(reports):
        draft.set("tracking.wandb", {}, "--report_to")
    if {"tensorboard", "all"} & set(reports):
        draft.set("tracking.tensorboard", True, "--report_to")
    for one in sorted({"mlflow", "swanlab"} & set(reports)):
        draft.set(f"tracking.{one}", {}, "--report_to")
    for one in set(reports) - {"wandb", "tensorboard", "mlflow", "swanlab", "all", "none"}:
        draft.note(f"--report_to {one}", "trackers are W&B, TensorBoard, MLflow and SwanLab")


def _set_best(draft: Draft, given: Given) -> None:
    """Set `checkpoint.best` to a metric of the evaluation, if the line evaluates."""
    option = "metric_for_best_model"
    if not given.has(option):
        option = "load_best_model_at_end"
    data = draft.data["data"]
    if "evaluation" not in data and not data["held_out"]:
        draft.note(given.written[option], "no text is held out; set `data.held_out`")
        return
    names = {"accuracy": "mlm_accuracy" if is_masked(given) else "loss"}
    metric = (given.values.get("metric_for_best_model") or "loss").removeprefix("eval_")
    metric = names.get(metric, metric)
    if "evaluation" in data:
        metric = f"validation/{metric}"
    draft.set("checkpoint.best", metric, given.table[option].name)


def is_masked(given: Given) -> bool:
    """Whether the line trains a masked language model."""
    return given.command.program == "run_mlm.py" or bool(given.values.get("mlm"))
