"""Training steps of ptm: time, rows per second, model FLOPs utilisation, peak memory, profiles."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.batches import Texts
from benchmarks.gpu.figures import PROFILES, Bench
from benchmarks.gpu.timing import free_memory, peak_gib, synchronise
from benchmarks.gpu.training import Training, start_training
from ptm.train.garbage_collection import GarbageCollection
from ptm.train.utilisation import Flops

_PROFILED_STEPS = 2
_PROFILE_ROWS = 35
_PROFILE_WIDTH = 70


@dataclass(frozen=True)
class Case:
    """A model and its rows per step. `dry_recipe`: its recipe in a dry run."""

    name: str
    recipe: str
    dry_recipe: str
    rows: int
    columns: int
    texts: Texts = "full"
    others: tuple[str, ...] = ()
    attentions: tuple[str, ...] = ("sdpa", "auto")
    profiled: bool = False


_BERT, _TINY = "roberta/base.yaml", "roberta/tiny.yaml"
CASES = (
    Case("BERT-base", _BERT, _TINY, 256, 128, profiled=True),
    Case("BERT-base", _BERT, _TINY, 256, 128, "short", profiled=True),
    Case("BERT-base", _BERT, _TINY, 64, 512, profiled=True),
    Case("BERT-base", _BERT, _TINY, 64, 512, "short", profiled=True),
    Case("GPT-2 small", "gpt2/small.yaml", "gpt2/tiny.yaml", 16, 1024, profiled=True),
    Case("T5-base", "t5/base.yaml", "t5/tiny.yaml", 64, 512, profiled=True),
    Case("ModernBERT-base", "modernbert/base.yaml", "modernbert/tiny.yaml", 32, 1024),
    Case("ModernBERT-base", "modernbert/base.yaml", "modernbert/tiny.yaml", 32, 1024, "short"),
    *(
        Case(f"BERT-base, {what}", _BERT, _TINY, 256, 128, "short", others, ("auto",))
        for what, others in (
            ("4 micro-batches", ("train.micro_batch_size=64",)),
            ("without dropout", ("model.dropout=0.0",)),
            ("ZeRO 0", ("engine.deepspeed=zero0",)),
            ("ZeRO 2", ("engine.deepspeed=zero2",)),
            ("ZeRO 3", ("engine.deepspeed=zero3",)),
        )
    ),
)


def run(bench: Bench) -> None:
    for case in CASES:
        for attention in case.attentions:
            rows, columns = shape(case, dry=bench.dry)
            names = {
                "model": case.name,
                "rows": f"{rows} x {columns}",
                "texts": case.texts,
                "attention": attention,
            }
            if bench.may_run("steps", **names):
                with bench.case("steps", **names):
                    measure(bench, case, names)
            free_memory()


def measure(bench: Bench, case: Case, names: dict[str, str]) -> None:
    """Time the steps of one case with `names["attention"]`, and record them."""
    in_use = free_memory()
    began = time.perf_counter()
    training = start_training(
        case.dry_recipe if bench.dry else case.recipe,
        overrides(case, names["attention"], dry=bench.dry),
        texts=case.texts,
        vocabulary_size=1000 if bench.dry else None,
    )
    with closing(training):
        warm, timed = (1, 2) if bench.dry else (8, 20)
        started, seconds = time_steps(training, warm, timed)
        bench.record(
            "steps",
            **names,
            ms=1e3 * seconds,
            **rates(training, range(warm, warm + timed), seconds),
            **{
                "peak GiB": peak_gib() - in_use,
                "seconds until the first timed step": started - began,
            },
        )
        if case.profiled or bench.dry:
            write_profile(training, bench.folder / PROFILES, " ".join(names.values()))


def time_steps(training: Training, warm: int, timed: int) -> tuple[float, float]:
    """When the timed steps began, and the seconds of each on average; `warm` steps come first."""
    with GarbageCollection():
        for number in range(warm):
            training.step(number)
        synchronise()
        started = time.perf_counter()
        for number in range(warm, warm + timed):
            training.step(number)
        synchronise()
        return started, (time.perf_counter() - started) / timed


def rates(training: Training, numbers: range, seconds: float) -> dict[str, float | str]:
    """Rates of the steps with these numbers, each of which took `seconds`."""
    batches = [training.batches[number % len(training.batches)][0] for number in numbers]
    needed = sum(training.flops.of(batch.sizes).needed for batch in batches) / len(batches)
    tokens = sum(batch.tokens for batch in batches) / len(batches)
    mfu = training.flops.rates(Flops(needed), seconds=seconds).get("mfu")
    return {
        "rows/s": training.recipe.train.global_batch_size / seconds,
        "real tokens/s": tokens / seconds,
        "TFLOP per step": needed / 1e12,
        "MFU, %": "" if mfu is None else 100 * mfu,
    }


def shape(case: Case, *, dry: bool) -> tuple[int, int]:
    """Rows per step, and tokens per row."""
    return (4, 64) if dry else (case.rows, case.columns)


def overrides(case: Case, attention: str, *, dry: bool) -> list[str]:
    """KEY=VALUE arguments of the recipe; those of the case take precedence."""
    rows, columns = shape(case, dry=dry)
    values = [
        f"data.sequence_length={columns}",
        f"train.global_batch_size={rows}",
        f"train.micro_batch_size={rows}",
        "engine.precision=bf16",
        f"engine.attention={attention}",
    ]
    keys = {other.partition("=")[0] for other in case.others}
    return [*(one for one in values if one.partition("=")[0] not in keys), *case.others]


def write_profile(training: Training, file: Path, title: str) -> None:
    """Append the costliest operations of some steps to `file`."""
    is_gpu = torch.cuda.is_available()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if is_gpu else [])]
    with profile(activities=activities) as profiler:
        for number in range(_PROFILED_STEPS):
            training.step(number)
        synchronise()
    table = profiler.key_averages().table(
        sort_by="self_device_time_total" if is_gpu else "self_cpu_time_total",
        row_limit=_PROFILE_ROWS,
        max_name_column_width=_PROFILE_WIDTH,
    )
    with file.open("a", encoding="utf-8") as profiles:
        profiles.write(f"{title}: {_PROFILED_STEPS} steps\n\n{table}\n\n")
