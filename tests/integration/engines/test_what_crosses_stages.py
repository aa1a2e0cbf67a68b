"""One layer's weights on both stages of a pipeline, and attention's scores on their way between."""

from __future__ import annotations

from pathlib import Path

from tests.integration.engines.comparing import differences
from tests.integration.engines.trainings import RECOMPUTED, TOGETHER, exact, stages, zero
from tests.support.launched import launched

SHARED = (
    *("model.encoder.shared_groups=1", "model.encoder.residual_attention=true"),
    *("model.embedding.size=16", TOGETHER),
)


def test_shared_layers_and_scores_give_the_numbers_of_one_process(
    store: Path, tmp_path: Path
) -> None:
    trainings = {
        1: exact("shared", zero(0), *SHARED),
        2: exact("shared", *stages(2), *SHARED, RECOMPUTED),
    }
    reports = []
    for ranks, training in trainings.items():
        folder = tmp_path / str(ranks)
        folder.mkdir()
        with launched([training], ranks=ranks, store=store, folder=folder) as launch:
            reports.append(launch.metrics("shared"))
    expected, found = reports
    apart = differences(found, expected)
    assert max(apart["loss"], apart["grad_norm"], apart["mlm_accuracy"]) <= 1e-5, apart
    assert expected[0]["loss"] > 1.03 * expected[-1]["loss"]
