"""The trainings of each launch, in an order that DeepSpeed can run within one process.

Pipelines and ZeRO 3 come last. Trainings in lists called `..._REST` are used by slow tests only and
do not run by default.
"""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ptm.errors import EXIT_STOPPED
from tests.support.launched import RUNS, Launch, Training

STEPS = 8
EXACT = (
    *("model.dropout=0.0", f"train.steps={STEPS}", f"tracking.evaluate_every={STEPS // 2}"),
    # With a small epsilon, Adam's step for a gradient of pure rounding error is as large as others.
    "optimizer.epsilon=1e-6",
)
SETTLED = 20
"""Steps after which the loss scale of fp16 has settled."""
UNTIED = "objective.head={tied: false, bias: true}"
RECOMPUTED = "engine.activation_checkpointing=true"
# Adam's steps hardly depend on the size of gradients; a large epsilon makes clipping visible.
SENSITIVE = "optimizer.epsilon=1e-3"
UNCLIPPED = (SENSITIVE, "train.gradient_clipping=0.0")
CLIP = 0.05
CLIPPED = (SENSITIVE, f"train.gradient_clipping={CLIP}")
# Without accumulation: faster, for tests that are not about it or compare coarsely.
TOGETHER = "train.micro_batch_size=4"
FROZEN = ('train.freeze=["word*", "embedding.*", "encoder_01.*"]',)

# The first of two stages has nothing to train, and each layer has a learning rate of its own.
LAYERED = (
    'train.freeze=["word*", "embedding.*", "encoder_00.*"]',
    *("model.encoder.layers=4", "optimizer.layer_decay=0.8"),
    'optimizer.rates={"mlm_*": 3.0}',
)


def taught_by(teacher: str) -> tuple[str, ...]:
    """Return overrides for a one-layer student with layer decay; `teacher`: name of a training."""
    return (
        f"objective={{type: distil, teacher: {RUNS}/{teacher}}}",
        *("model.encoder.layers=1", "optimizer.layer_decay=0.8"),
    )


HALF = {
    "bf16": ("engine.precision=bf16", TOGETHER),
    "fp16": ("engine.precision=fp16", "engine.loss_scale.initial_power=10", TOGETHER),
}
OVERFLOWING = (
    *("engine.precision=fp16", "engine.loss_scale.initial_power=28", TOGETHER),
    *(f"train.steps={SETTLED}", f"tracking.evaluate_every={SETTLED // 2}"),
    # A small learning rate, so that gradients do not outgrow the settled scale.
    "optimizer.learning_rate=3.0e-4",
)
FLOOR = (
    *("engine.precision=fp16", TOGETHER),
    "engine.loss_scale={initial_power: 28, minimum: 268435456, hysteresis: 1}",
)


def zero(stage: int | str) -> str:
    return f"engine.deepspeed=zero{stage}"


def stages(count: int) -> tuple[str, str]:
    return ("engine.deepspeed=pipeline", f"engine.pipeline_stages={count}")


def exact(name: str, *overrides: str) -> Training:
    """Return a training without dropout, so that it does not depend on the layout."""
    return Training(name, (*EXACT, *overrides))


# With dropout, which is different on every rank.
DROPPING = (
    *("model.dropout=0.1", "train.steps=10", "tracking.evaluate_every=5"),
    TOGETHER,
)


def half_precision(name: str, stages: Iterable[int]) -> list[Training]:
    """Return a training in each half precision at each of the ZeRO stages `stages`."""
    return [
        exact(f"{name}-{precision}-zero{stage}", zero(stage), *overrides)
        for stage in stages
        for precision, overrides in HALF.items()
    ]


# Layers on both stages share weights, and attention scores pass from stage to stage.
SHARED = (
    *("model.encoder.shared_groups=1", "model.encoder.residual_attention=true"),
    *("model.embedding.size=16", TOGETHER),
)

ONE_RANK = [
    exact("alone", zero(0)),
    exact("alone-other-seed", zero(0), "seed=8"),
    exact("alone-untied", zero(0), UNTIED),
    exact("alone-clipped", zero(0), *CLIPPED),
    exact("alone-unclipped", zero(0), *UNCLIPPED),
    exact("alone-recomputed", zero(0), RECOMPUTED),
    exact("alone-distil", zero(0), *taught_by("alone")),
    exact("alone-frozen", zero(0), *FROZEN),
    exact("alone-layered", zero(0), *LAYERED),
    exact("alone-shared", zero(0), *SHARED),
    *(exact(f"alone-fp16-clipped-zero{n}", zero(n), *HALF["fp16"], *CLIPPED) for n in (0, 1)),
    *(exact(f"alone-floor-zero{stage}", zero(stage), *FLOOR) for stage in (0, 1)),
    *half_precision("alone", (0, 1, 2)),
    *(exact(f"alone-overflow-zero{stage}", zero(stage), *OVERFLOWING) for stage in (0, 1)),
    *half_precision("alone", (3,)),
    exact("alone-overflow-zero3", zero(3), *OVERFLOWING),
]

INVALID = {
    "uneven": ("train.global_batch_size=7",),
    "too-many-stages": stages(3),
    "pipeline-with-zero2": (zero(2), "engine.pipeline_stages=2"),
}
INVALID_ON_ONE_RANK = {
    "another-seed": "seed=8",
    "a-seed-that-is-no-number": "seed=x",
    "no-store": "data.store=/nowhere/at/all",
}
IN_USE = "in-use"
"""Its run folder is locked by the tests before any rank starts."""

# The step with an abnormal loss.
ABNORMAL_STEP = 8
POLICIES = {
    "skip-nan": ("skip", math.nan),
    "skip-spike": ("skip", 100.0),
    "rollback-nan": ("rollback", math.nan),
    "stop-nan": ("stop", math.nan),
}


def disturbed(engine: str, *overrides: str) -> list[Training]:
    """Return a training with one abnormal loss under each anomaly policy."""
    return [
        Training(
            f"{name}-{engine}",
            (
                *(*overrides, *DROPPING, "checkpoint.every=4"),
                f"train.anomalies={{policy: {policy}, sigmas: 6, window: 6}}",
            ),
            disturbed=(ABNORMAL_STEP, factor),
        )
        for name, (policy, factor) in POLICIES.items()
    ]


# Trainings that are stopped and resumed in the same layout.
RESUMED = {
    **{f"zero{stage}": (zero(stage),) for stage in (0, 1, 2)},
    "bf16": (zero(1), "engine.precision=bf16"),
    # Overflows in the first five steps.
    "fp16": (zero(2), "engine.precision=fp16", "engine.loss_scale.initial_power=22"),
    "zero3": (zero(3),),
    "stages2": stages(2),
}
STOPPED_AT = {name: random.Random(name).randint(2, 4 if name == "fp16" else 8) for name in RESUMED}


def stopped(*names: str) -> list[Training]:
    """For each of `names` in RESUMED: an uninterrupted training and one stopped and resumed."""
    return [
        training
        for name in names
        for training in (
            Training(f"calm-{name}", (*DROPPING, *RESUMED[name])),
            Training(f"stopped-{name}", (*DROPPING, *RESUMED[name]), stop_at=STOPPED_AT[name]),
            Training(f"stopped-{name}", (*DROPPING, *RESUMED[name])),
        )
    ]


# Trainings that are stopped and resumed in another layout.
SAVED_AT = STEPS // 2
SAVERS: dict[str, tuple[str, ...]] = {f"zero{stage}": (zero(stage),) for stage in range(4)} | {
    "stages2": stages(2)
}
LOADERS: dict[int, dict[str, tuple[str, ...]]] = {
    1: {f"zero{stage}": (zero(stage),) for stage in (0, 1, 2, "2-offload", 3, "3-offload")},
    4: {
        **{f"zero{stage}": (zero(stage),) for stage in range(4)},
        "stages2": stages(2),
        "stages4": stages(4),
    },
}


def saved(*names: str) -> list[Training]:
    """Return a training for each of `names` in SAVERS, stopped in the middle."""
    return [
        Training(f"saved-{name}", (*EXACT, *SAVERS[name], TOGETHER), stop_at=SAVED_AT)
        for name in names
    ]


def resumed_in(before: str, after: str, *, ranks: int) -> Training:
    """Resume `saved-{before}` under the engine `after`, in the copy made by `copy_saved`."""
    folder = f"{before}-{after}"
    moved = (f"name=saved-{before}", f"runs_dir={RUNS}/{folder}")
    return exact(folder, *LOADERS[ranks][after], TOGETHER, *moved)


TWO_RANKS = [
    *(exact(name, *overrides) for name, overrides in INVALID.items()),
    *(
        Training(name, (zero(1),), on_rank_1=(wrong,))
        for name, wrong in INVALID_ON_ONE_RANK.items()
    ),
    exact(IN_USE, zero(1)),
    *disturbed("zero2", zero(2)),
    *saved("zero0", "zero1", "zero2"),
    *(exact(f"zero{stage}", zero(stage)) for stage in (0, 1, 2, "2-offload")),
    exact("accumulated-4-times", zero(1), "train.micro_batch_size=1"),
    exact("not-accumulated", zero(1), "train.micro_batch_size=4"),
    *(exact(f"clipped-zero{stage}", zero(stage), *CLIPPED) for stage in (0, 1, 2)),
    exact("frozen-zero2", zero(2), *FROZEN, TOGETHER),
    exact("distil-zero2", zero(2), *taught_by("zero1"), TOGETHER),
    *stopped("zero1", "fp16"),
    *saved("zero3"),
    exact("zero3", zero(3)),
    exact("frozen-zero3", zero(3), *FROZEN, TOGETHER),
    exact("distil-zero3", zero(3), *taught_by("zero1"), TOGETHER),
    exact("zero3-offload", zero("3-offload"), TOGETHER),
    exact("clipped-zero3", zero(3), *CLIPPED, TOGETHER),
    exact("recomputed-zero3", zero(3), RECOMPUTED, TOGETHER),
    replace(exact("varlen-zero3", zero(3)), varlen=True),
    *(exact(f"{precision}-zero3", zero(3), *half) for precision, half in HALF.items()),
    *stopped("zero3"),
]
TWO_STAGES = [
    *disturbed("stages2", *stages(2)),
    *saved("stages2"),
    exact("stages2", *stages(2)),
    exact("recomputed-stages2", *stages(2), RECOMPUTED),
    replace(exact("varlen-stages2", *stages(2), RECOMPUTED), varlen=True),
    exact("untied-stages2", *stages(2), UNTIED),
    exact("frozen-stages2", *stages(2), *FROZEN),
    exact("layered-stages2", *stages(2), *LAYERED),
    exact("clipped-stages2", *stages(2), *CLIPPED),
    exact("shared-stages2", *stages(2), *SHARED, RECOMPUTED),
    *(exact(f"{precision}-stages2", *stages(2), *half) for precision, half in HALF.items()),
    exact("overflow-stages2", *stages(2), *OVERFLOWING),
    *stopped("stages2"),
]
TWO_RANKS_REST = stopped("zero0", "zero2", "bf16")


def copy_saved(saver: Launch, before: str, after: str, *, runs: Path) -> None:
    """Copy the run `saved-{before}` to the folder in `runs` where `resumed_in` resumes it."""
    name = f"saved-{before}"
    assert saver.codes(name) == [[EXIT_STOPPED] * 2]
    shutil.copytree(saver.runs / name, runs / f"{before}-{after}" / name)


GROWN = [(name, name) for name in SAVERS]
"""(engine on two ranks, engine that resumes its training on four ranks)."""
FOUR_RANKS = [
    *(exact(f"zero{stage}", zero(stage)) for stage in range(3)),
    *(resumed_in(*pair, ranks=4) for pair in GROWN[:3]),
    exact("zero3", zero(3)),
    resumed_in("zero3", "zero3", ranks=4),
    exact("stages4", *stages(4)),
    exact("stages2x2", *stages(2)),
    exact("clipped-stages2x2", *stages(2), *CLIPPED),
    resumed_in("stages2", "stages2", ranks=4),
]
