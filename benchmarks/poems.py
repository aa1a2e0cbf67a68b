"""Test whether a model trained on poems continues a line with lines of the same length.

python benchmarks/poems.py SOURCE [--count N] [--sample] [KEY=VALUE ...]

Takes the first lines (five or seven characters and a comma) of N held-out poems of the recipe's
store, lets the model continue them, and counts the poems whose next three lines all have as many
characters as the first.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

import numpy as np

from ptm.data.documents import held_out_documents
from ptm.inference.decoding import Sampling
from ptm.inference.generate import GenerationConfig, Generator
from ptm.interop.sources.open import open_source
from ptm.loading.rows import PackedDataset
from ptm.loading.splits import open_evaluation_rows

LINES = 3
_ENDS = re.compile("[，。？！；]")


def first_lines(
    rows: PackedDataset, generator: Generator, *, share: float, count: int
) -> list[str]:
    """First lines of up to `count` held-out poems, evenly spread, with five or seven characters.

    `share`: the share of documents that is held out.
    """
    starts, lengths = rows.store.document_ranges
    chosen = np.flatnonzero(held_out_documents(rows.store.document_hashes, share))
    found = []
    for document in chosen:
        begin, length = int(starts[document]), int(lengths[document])
        ids = rows.store.tokens(np.array([begin]), np.array([min(length, 16)]))
        line, comma, _ = generator.tokenizer.decode(ids.tolist()).partition("，")
        if comma and len(line) in (5, 7) and "[UNK]" not in line:
            found.append(line + comma)
    step = max(1, len(found) // count)
    return found[::step][:count]


def keeps_length(first: str, written: str) -> bool:
    """Whether the next three lines are all as long as the first."""
    lines = _ENDS.split(written)[:LINES]
    return len(lines) == LINES and all(len(line) == len(first) - 1 for line in lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--sample", action="store_true")
    parsed = parser.parse_args(arguments)
    source = open_source(parsed.source)
    generator = Generator(source)
    recipe = source.recipe(parsed.overrides)
    rows = open_evaluation_rows(recipe, generator.tokenizer)["eval"]
    lines = first_lines(rows, generator, share=recipe.data.held_out, count=parsed.count)
    sampling = Sampling(top_p=0.9) if parsed.sample else None
    written = generator.generate(lines, GenerationConfig(longest=40, sampling=sampling))
    kept = [keeps_length(*pair) for pair in zip(lines, written, strict=True)]
    for line, text in list(zip(lines, written, strict=True))[:5]:
        print(f"{line} {text}")
    print(f"{sum(kept)} of {len(kept)} poems continue with lines of the length of the first")


if __name__ == "__main__":
    main()
