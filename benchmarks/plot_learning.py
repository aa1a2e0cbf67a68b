"""Draw learning curves of runs beside the measured points of UER-py.

python benchmarks/plot_learning.py OUT.svg RUN [RUN ...]        (needs the extra `figures`)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# UER-py (snapshot 5743050): the same tiny model, corpus, vocabulary and batch of 32 x 128, learning
# rate 1e-4, linear with 10 % warm-up, one review per row. (loss, accuracy), means over 100 steps.
UER = [
    (8.93, 0.033),
    (6.68, 0.045),
    (6.47, 0.047),
    (6.45, 0.044),
    (6.41, 0.047),
    (6.42, 0.049),
    (6.40, 0.048),
    (6.35, 0.046),
    (6.39, 0.049),
    (6.40, 0.049),
]


def main(out: str, runs: list[str]) -> None:
    """Draw two panels, loss and accuracy over steps, into the file `out`."""
    figure, panels = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for panel, name, column in zip(panels, ("loss", "mlm_accuracy"), (0, 1), strict=True):
        for run in runs:
            lines = Path(run, "metrics.jsonl").read_text(encoding="utf-8").splitlines()
            train = [r for r in map(json.loads, lines) if r["split"] == "train"]
            panel.plot([r["step"] for r in train], [r[name] for r in train], label=Path(run).name)
        steps = [100 * (index + 1) for index in range(len(UER))]
        panel.plot(steps, [point[column] for point in UER], "--", label="UER-py, rate 1e-4")
        panel.set_xlabel("step")
        panel.set_title("masked accuracy" if column else "loss")
        panel.grid(alpha=0.3)
        panel.legend()
    panels[0].set_ylim(5.5, 9.0)
    figure.savefig(out)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
