"""transformers' Trainer at its best on the same card: bf16, SDPA, fused AdamW, eager and compiled.

BERT-base with rows of random tokens without padding, so that no mask is needed. Its head computes
logits at all positions; MFU counts what the model needs, as that of ptm does.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import BertConfig, BertForMaskedLM, Trainer, TrainerCallback, TrainingArguments

from benchmarks.gpu.figures import Bench
from benchmarks.gpu.timing import free_memory, peak_gib, synchronise, the_device
from ptm.data.placement import EXAMPLE_IDS
from ptm.engines.chips import device_peak_flops
from ptm.model.build import build_plan
from ptm.model.example_sizes import ExampleSizes
from ptm.model.flops import FlopCounter
from ptm.recipe import load_recipe

_RECIPE = Path(__file__).parents[2] / "recipes" / "roberta" / "base.yaml"
_VOCABULARY = 21128
_FIRST_WORD = 5
_MASKED = 0.15
_SHAPES = ((256, 128), (64, 512))


class RandomRows(Dataset[dict[str, Tensor]]):
    """Rows of random tokens, 15 % of which are predicted."""

    def __init__(self, count: int, columns: int) -> None:
        generator = torch.Generator().manual_seed(0)
        shape = (count, columns)
        self._ids = torch.randint(_FIRST_WORD, _VOCABULARY, shape, generator=generator)
        masked = torch.rand(shape, generator=generator) < _MASKED
        self._labels = self._ids.where(masked, -100)

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self._ids[index], "labels": self._labels[index]}


class Clock(TrainerCallback):  # type: ignore[misc]
    """Takes the time after the given steps, once the GPU has done them."""

    def __init__(self, steps: tuple[int, ...]) -> None:
        self._steps = steps
        self.times: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if state.global_step in self._steps:
            synchronise()
            self.times.append(time.perf_counter())


def run(bench: Bench) -> None:
    for rows, columns in ((4, 64),) if bench.dry else _SHAPES:
        for compiled in (False,) if bench.dry else (False, True):
            names = {
                "model": "BERT-base",
                "rows": f"{rows} x {columns}",
                "mode": "compiled" if compiled else "eager",
            }
            if bench.may_run("transformers' Trainer", **names):
                with bench.case("transformers' Trainer", **names):
                    _measure(bench, names, rows, columns, compiled=compiled)


def _measure(
    bench: Bench, names: dict[str, str], rows: int, columns: int, *, compiled: bool
) -> None:
    in_use = free_memory()
    torch.compiler.reset()
    warm, timed = (1, 2) if bench.dry else (20, 20)
    clock = Clock((warm, warm + timed))
    is_gpu = torch.cuda.is_available()
    small = {"num_hidden_layers": 1, "hidden_size": 64, "num_attention_heads": 1}
    config = BertConfig(
        vocab_size=_VOCABULARY, attn_implementation="sdpa", **(small if bench.dry else {})
    )
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=rows,
            max_steps=warm + timed,
            bf16=is_gpu,
            torch_compile=compiled,
            optim="adamw_torch_fused",
            max_grad_norm=1.0,
            report_to=[],
            save_strategy="no",
            logging_steps=10**6,
            # Otherwise each step waits for its loss.
            logging_nan_inf_filter=False,
            disable_tqdm=True,
            dataloader_num_workers=8 if is_gpu else 0,
            dataloader_pin_memory=is_gpu,
            use_cpu=not is_gpu,
        )
        Trainer(
            model=BertForMaskedLM(config),
            args=arguments,
            train_dataset=RandomRows(rows * (warm + timed), columns),
            callbacks=[clock],
        ).train()
    begin, end = clock.times
    seconds = (end - begin) / timed
    peak = device_peak_flops(the_device(), "bf16")
    bench.record(
        "transformers' Trainer",
        **names,
        ms=1e3 * seconds,
        **{
            "rows/s": rows / seconds,
            "real tokens/s": rows * columns / seconds,
            "MFU, %": "" if peak is None else 100 * _flops(rows, columns) / seconds / peak,
            "peak GiB": peak_gib() - in_use,
        },
    )


def _flops(rows: int, columns: int) -> float:
    """Operations that BERT-base needs for a step, with logits at the predicted positions."""
    recipe = load_recipe(str(_RECIPE))
    plan = build_plan(recipe.model, recipe.objective, vocabulary_size=_VOCABULARY)
    predicted = round(_MASKED * rows * columns)
    sizes = ExampleSizes(
        lengths={EXAMPLE_IDS: np.full(rows, columns)},
        positions=dict.fromkeys(recipe.objective.ragged_tensors, predicted),
        prefixes=np.zeros(rows, np.int64),
    )
    return FlopCounter(plan).training([sizes])
