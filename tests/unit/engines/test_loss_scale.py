"""fp16 at ZeRO 0: updates and clipping match fp32, also when the loss scale changes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ptm.engines.deepspeed import start_engine
from ptm.engines.ranks import init_process_group
from ptm.engines.zero import Fp16LossScaleFix

WINDOW = 2


def gradient(size: float) -> Tensor:
    """The gradient of every step."""
    return (size * torch.arange(6.0)).view(2, 3)


class Descent:
    """One matrix trained by SGD with learning rate 1, so that an update equals the gradient."""

    def __init__(self, *, power: int, clipping: float, minimum: float) -> None:
        init_process_group()
        config = {
            "train_batch_size": 1,
            "gradient_clipping": clipping,
            "zero_optimization": {"stage": 0},
            "fp16": {
                "enabled": True,
                "loss_scale": 0,
                "initial_scale_power": power,
                "loss_scale_window": WINDOW,
                "min_loss_scale": int(minimum),
            },
            "zero_allow_untested_optimizer": True,
        }
        model = nn.Linear(3, 2, bias=False)
        # Zero weights: small updates are not rounded away by large weights.
        nn.init.zeros_(model.weight)
        self.engine: Any = start_engine(model, torch.optim.SGD(model.parameters(), lr=1.0), config)
        self.minimum = minimum
        self.scale: Fp16LossScaleFix | None = None

    def cured(self) -> Descent:
        self.scale = Fp16LossScaleFix(self.engine, minimum=self.minimum)
        return self

    @property
    def weights(self) -> Tensor:
        """The fp32 master weights."""
        return self.engine.optimizer.fp32_groups[0][0].detach().clone()

    def update(self, size: float) -> tuple[Tensor, float]:
        """Return the tensor that one step subtracts and the gradient norm that it reports."""
        before = self.weights
        outputs = self.engine(torch.eye(3, dtype=torch.float16)).float()
        scale = 1.0 if self.scale is None else self.scale.value
        self.engine.backward((outputs * gradient(size).T).sum() * scale)
        self.engine.step()
        norm = math.nan if self.scale is None else self.scale.after_step()
        return before - self.weights, norm


Build = Callable[..., Descent]


@pytest.fixture
def build() -> Build:
    def built(*, power: int = 10, clipping: float = 0.0, minimum: float = 1.0) -> Descent:
        return Descent(power=power, clipping=clipping, minimum=minimum)

    return built


@pytest.mark.parametrize("size", [1e-6, 1e-3, 1.0])
def test_a_gradient_is_as_large_as_in_fp32(build: Build, size: float) -> None:
    # 1e-6 keeps three bits in fp16 and becomes 0 when divided by a scale of 1024.
    update, norm = build().cured().update(size)
    assert torch.allclose(update, gradient(size), rtol=2e-3, atol=2e-3 * size)
    assert norm == pytest.approx(float(gradient(size).norm()), rel=2e-3)


def test_deepspeed_alone_still_unscales_gradients_of_an_unscaled_loss(build: Build) -> None:
    """If this fails, DeepSpeed has fixed the bug: remove Fp16LossScaleFix."""
    update, _ = build().update(1.0)
    assert torch.allclose(update, gradient(1.0) / 1024, rtol=2e-3)


@pytest.mark.parametrize(("size", "clipped"), [(1.0, True), (0.01, False)])
def test_clipping_uses_the_norm_of_the_unscaled_gradients(
    build: Build, size: float, clipped: bool
) -> None:
    update, norm = build(clipping=0.5).cured().update(size)
    before = float(gradient(size).norm())
    assert (before > 0.5) == clipped
    assert norm == pytest.approx(before, rel=2e-3)
    assert float(update.norm()) == pytest.approx(min(before, 0.5), rel=2e-3)


@pytest.mark.parametrize("clipping", [0.0, 0.5])
def test_the_scale_doubles_after_its_window_and_no_update_is_halved(
    build: Build, clipping: float
) -> None:
    training = build(clipping=clipping).cured()
    scales, sizes = [], []
    for _ in range(3 * WINDOW):
        update, _ = training.update(0.5)
        sizes.append(float(update.norm()))
        scales.append(training.scale.value if training.scale else math.nan)
    expected = min(float(gradient(0.5).norm()), clipping or math.inf)
    assert sizes == pytest.approx([expected] * len(sizes), rel=2e-3)
    assert scales == [1024, 1024, 2048, 2048, 4096, 4096]


def test_an_overflow_updates_nothing_and_halves_the_scale_once(build: Build) -> None:
    training = build(power=15).cured()
    assert training.scale is not None
    update, norm = training.update(10.0)
    assert not update.any()
    assert math.isinf(norm)
    assert training.scale.value == 2**14
    assert training.engine.skipped_steps == 1
    update, norm = training.update(0.1)
    assert torch.allclose(update, gradient(0.1), rtol=2e-3)
    assert training.scale.value == 2**14


def test_an_overflow_at_the_smallest_scale_ends_the_training(build: Build) -> None:
    training = build(power=15, minimum=2.0**14).cured()
    training.update(10.0)
    with pytest.raises(OverflowError, match="loss scale already at minimum"):
        training.update(10.0)
