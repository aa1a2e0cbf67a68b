"""BLEU and ROUGE of generated text for held-out examples, computed by their reference packages."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from ptm.components.objectives import MicroBatch
from ptm.components.objectives.base import Prompt
from ptm.console.phases import begin_phase, report_done
from ptm.data.placement import DECODER
from ptm.errors import UserError
from ptm.inference.generate import GenerationConfig, Generator
from ptm.interop.sources.base import ModelSource
from ptm.loading.rows import PackedDataset
from ptm.loading.splits import open_evaluation_rows
from ptm.nn.model_shape import PREFIX_SEGMENT
from ptm.recipe.data_block import metric_key
from ptm.runs.evaluate import recipe_with_store

_ROWS_TOGETHER = 16
_SENTINEL = re.compile(r"<extra_id_\d+>")
_ROUGES = ("rouge1", "rouge2", "rougeL")


@dataclass(frozen=True)
class HeldOut:
    """A held-out example: the prompt for the model, and the reference text."""

    prompt: Prompt
    reference: str


def generation_scores(
    source: ModelSource,
    overrides: Sequence[str],
    choice: GenerationConfig,
    *,
    count: int | None,
) -> dict[str, Any]:
    """BLEU (0 to 100) and ROUGE F-measures (0 to 1) of generated text for held-out examples.

    `choice`: how to generate. `count`: number of examples per evaluation set, None for all.
    Scores of a named evaluation set have its name as prefix. Raises UserError if the objective
    has no separate target to generate, or if the packages are not installed.
    """
    _package("sacrebleu"), _package("rouge_score")
    recipe = recipe_with_store(source, overrides)
    generator = Generator(source)
    if "pairs" not in recipe.objective.layouts and recipe.model.decoder is None:
        raise UserError(
            f"{source.folder}: objective {recipe.objective.type} continues its own text and has "
            "no target to compare with. For its perplexity, use `ptm evaluate` without --write."
        )
    found: dict[str, Any] = {}
    for name, rows in open_evaluation_rows(recipe, generator.tokenizer).items():
        references, written = [], []
        total = min(count or rows.lengths.size, rows.lengths.size)
        begin_phase(f"generating for {name}", total=total, unit="texts")
        for some in _chunks(_held_out(rows, generator), count):
            references += [example.reference for example in some]
            written += generator.write([example.prompt for example in some], choice)
            report_done(len(written))
        scores = {"written": len(written), **text_scores(written, references)}
        found |= {metric_key(name, key): value for key, value in scores.items()}
    return found


def text_scores(written: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """Corpus BLEU with sacreBLEU's signature, and mean ROUGE F-measures.

    If the references are mostly Chinese, text is compared by character, as in sacreBLEU's `zh`
    tokenizer and ROUGE for Chinese. T5 sentinels are removed before scoring.
    """
    written, references = ([_SENTINEL.sub(" ", t) for t in some] for some in (written, references))
    chinese = _mostly_chinese(references)
    bleu = _package("sacrebleu").metrics.BLEU(tokenize="zh" if chinese else "13a")
    score = bleu.corpus_score(list(written), [list(references)])
    rouge_scorer = importlib.import_module("rouge_score.rouge_scorer")
    scorer = rouge_scorer.RougeScorer(_ROUGES, tokenizer=_Characters() if chinese else None)
    rouges = [scorer.score(r, w) for r, w in zip(references, written, strict=True)]
    means = {
        name: float(np.mean([rouge[name].fmeasure for rouge in rouges] or [0.0]))
        for name in _ROUGES
    }
    return {"bleu": float(score.score), **means, "bleu_signature": str(bleu.get_signature())}


class _Characters:
    """ROUGE tokenizer: single characters for Chinese, words for everything else."""

    def tokenize(self, text: str) -> list[str]:
        """The tokens that ROUGE compares."""
        apart = "".join(f" {c} " if _is_chinese(c) else c for c in text.lower())
        return apart.split()


def _is_chinese(character: str) -> bool:
    return "\u3400" <= character <= "\u9fff" or "\uf900" <= character <= "\ufaff"


def _mostly_chinese(texts: Sequence[str]) -> bool:
    letters = [character for text in texts for character in text if character.isalpha()]
    return 2 * sum(map(_is_chinese, letters)) > len(letters)


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            "--write needs the packages sacrebleu and rouge-score: pip install -e '.[scores]'."
        ) from error


def _held_out(rows: PackedDataset, generator: Generator) -> Iterator[HeldOut]:
    for first in range(0, len(rows), _ROWS_TOGETHER):
        chosen = np.arange(first, min(first + _ROWS_TOGETHER, len(rows)), dtype=np.int64)
        batch = rows.micro_batch(chosen, np.zeros_like(chosen))
        for row in range(chosen.size):
            yield from _examples_in_row(batch, row, generator)


def _examples_in_row(batch: MicroBatch, row: int, generator: Generator) -> Iterator[HeldOut]:
    tensors = {name: array[row] for name, array in batch.tensors.items() if array.ndim > 1}
    side = DECODER if f"{DECODER}input_ids" in tensors else ""
    end = generator.target_tokenizer.vocabulary.special_id("eos")
    # Examples packed in the row are numbered from 1 in `example_ids`; 0 is padding.
    for example in range(1, int(tensors["example_ids"].max()) + 1):
        here = tensors[f"{side}example_ids"] == example
        targets = tensors["target_ids"][here & (tensors["target_weights"] > 0)]
        reference = generator.target_tokenizer.decode(targets[targets != end].tolist())
        read = tensors["input_ids"][tensors["example_ids"] == example]
        if side:
            # Encoder-decoder: the source is the encoder's input, generation starts with its BOS.
            begin = tensors[f"{side}input_ids"][here][:1]
            prompt = Prompt(begin=tuple(begin.tolist()), source=tuple(read.tolist()))
        else:
            # Prefix language model: the source is the prefix, the target is the next segment.
            prefix = read[tensors["segment_ids"][here] == PREFIX_SEGMENT]
            prompt = Prompt(
                begin=tuple(prefix.tolist()),
                segment=PREFIX_SEGMENT,
                next_segment=PREFIX_SEGMENT + 1,
            )
        yield HeldOut(prompt, reference)


def _chunks(examples: Iterator[HeldOut], count: int | None) -> Iterator[list[HeldOut]]:
    """The first `count` examples (all if None), in lists of up to `_ROWS_TOGETHER`."""
    taken: list[HeldOut] = []
    for number, example in enumerate(examples):
        if number == count:
            break
        taken.append(example)
        if len(taken) == _ROWS_TOGETHER:
            yield taken
            taken = []
    if taken:
        yield taken
