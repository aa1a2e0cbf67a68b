"""Fill the masks of probes.tsv with a model, and count how often the right token is in the top 5.

python recipes/quickstart/try_probes.py MODEL
"""

from __future__ import annotations

import sys
from pathlib import Path

from ptm.inference.fill import Filler
from ptm.interop.sources.open import open_source

NEAR = 5


def main(model: str) -> None:
    """Print one line per probe, and the score."""
    filler = Filler(open_source(model))
    probes = Path(__file__).with_name("probes.tsv").read_text(encoding="utf-8").splitlines()
    hits = 0
    for probe in probes:
        sentence, expected = probe.split("\t")
        (guesses,) = filler.fill(sentence, count=NEAR)
        tokens = [guess.token for guess in guesses]
        hits += expected in tokens
        print(f"{'+' if expected in tokens else '-'} {sentence}  ->  {' '.join(tokens)}")
    print(f"{hits} of {len(probes)} right tokens are among the top {NEAR} predictions")


if __name__ == "__main__":
    main(sys.argv[1])
