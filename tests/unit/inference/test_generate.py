"""`ptm generate` with every kind of model that generates text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER, UserError
from ptm.inference.decoding import Sampling
from ptm.inference.generate import GenerationConfig, Generator
from ptm.interop.sources.open import open_source
from ptm.model.build import build_plan
from tests.support.bert_pairs import random_weights, recipe_of, write_model

TEXTS = ["The capital of France", "日本的首都是", "A"]
STACK = {"type": "transformer", "layers": 1, "hidden_size": 32, "heads": 2, "feed_forward_size": 64}
MODELS: dict[str, dict[str, Any]] = {
    "lm": {"encoder": {**STACK, "visibility": "causal", "norm_position": "pre"}},
    "prefixlm": {"encoder": {**STACK, "visibility": "prefix"}},
    "seq2seq": {"encoder": STACK, "decoder": STACK},
    "bart": {"encoder": STACK, "decoder": STACK},
    "mlm": {"encoder": STACK},
    "lstm": {"encoder": {"type": "lstm", "layers": 2, "hidden_size": 32}},
    "gated_cnn": {"encoder": {"type": "gated_cnn", "layers": 3, "hidden_size": 32}},
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory, bundled_vocab: Path) -> Path:
    """A folder with one model per objective, with random weights."""
    folder = tmp_path_factory.mktemp("writers")
    for kind, model in MODELS.items():
        objective = "lm" if kind in ("lstm", "gated_cnn") else kind
        blocks = {
            "tokenizer": {"type": "wordpiece", "vocab": str(bundled_vocab)},
            "model": {"embedding": {"positions": 40}, **model},
            "objective": {"type": objective},
            "data": {
                "corpus": "none",
                "layout": "pairs" if objective in ("prefixlm", "seq2seq") else "sentences",
                "store": "",
                "sequence_length": 40,
            },
        }
        recipe = recipe_of(blocks)
        plan = build_plan(
            recipe.model,
            recipe.objective,
            vocabulary_size=recipe.tokenizer.load().vocabulary.size,
            outputs=("logits",),
        )
        write_model(folder / kind, blocks, random_weights(plan))
    return folder


WRITERS = ["lm", "prefixlm", "seq2seq", "bart", "lstm", "gated_cnn"]


@pytest.mark.parametrize("kind", WRITERS)
def test_batched_single_and_streamed_texts_are_equal(sources: Path, kind: str) -> None:
    generator = Generator(open_source(str(sources / kind)))
    choice = GenerationConfig(max_new_tokens=12)
    together = generator.generate(TEXTS, choice)
    assert together == [generator.generate([text], choice)[0] for text in TEXTS]
    assert together == ["".join(generator.stream(text, choice)) for text in TEXTS]
    assert any(together)


def test_the_seed_determines_the_sampled_text(sources: Path) -> None:
    generator = Generator(open_source(str(sources / "lm")))
    drawn = [
        generator.generate(
            TEXTS, GenerationConfig(max_new_tokens=12, sampling=Sampling(), seed=seed)
        )
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_beam_search_returns_one_text_per_prompt(sources: Path) -> None:
    generator = Generator(open_source(str(sources / "seq2seq")))
    for beams in (2, 5):
        assert len(
            generator.generate(TEXTS, GenerationConfig(max_new_tokens=8, beams=beams))
        ) == len(TEXTS)


def test_no_text_is_longer_than_the_positions(sources: Path) -> None:
    generator = Generator(open_source(str(sources / "lm")))
    ids = generator.tokenizer.encode(
        generator.generate(["A"], GenerationConfig(max_new_tokens=500))
    )[0]
    assert len(ids) <= 40


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("kind", ["lm", "prefixlm", "gated_cnn"])
def test_every_text_of_a_batch_has_its_own_limit(sources: Path, kind: str, beams: int) -> None:
    """A long text of a file leaves as many new tokens to a short one as if it were alone."""
    generator = Generator(open_source(str(sources / kind)))
    choice = GenerationConfig(max_new_tokens=500, beams=beams)
    texts = ["A", "wet " * 30, "日本", "wet " * 36]
    together = generator.generate(texts, choice)
    assert together == [generator.generate([text], choice)[0] for text in texts]
    lengths = [len(ids) for ids in generator.tokenizer.encode(together)]
    assert lengths[0] > 2 * lengths[1]


def test_a_text_that_is_too_long_is_rejected(sources: Path) -> None:
    generator = Generator(open_source(str(sources / "seq2seq")))
    with pytest.raises(UserError, match="including special tokens; the model reads at most 40"):
        generator.generate(["wet " * 60], GenerationConfig(max_new_tokens=4))


def test_a_masked_language_model_is_rejected(sources: Path) -> None:
    with pytest.raises(UserError, match=r"objective mlm cannot generate text\. Use `ptm fill`"):
        Generator(open_source(str(sources / "mlm")))


def test_the_command_prints_text_and_continuation_or_only_the_target(
    sources: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", str(sources / "lm"), TEXTS[0], "--length", "5"]) == EXIT_DONE
    assert capsys.readouterr().out.startswith(TEXTS[0])
    command = ["generate", str(sources / "seq2seq"), *TEXTS, "--beams", "2", "--json"]
    assert main([*command, "--length", "5"]) == EXIT_DONE
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] for line in lines] == TEXTS


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--beams", "3"], "Beam search is supported only for encoder-decoder models"),
        (["--beams", "2", "--sample"], "--beams searches for the most likely text"),
        (["--temperature", "0"], "--temperature 0: must be above 0"),
        (["--top-p", "1.5"], "--top-p 1.5: must be above 0 and at most 1"),
        (["--top-k", "0"], "--top-k 0: must be at least 1"),
        (["--length-penalty", "2"], "--length-penalty has an effect only with --beams"),
        (["--file", "nowhere.txt"], "nowhere.txt: cannot be read"),
    ],
)
def test_invalid_options_are_rejected(
    sources: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert main(["generate", str(sources / "lm"), "A", *arguments]) == EXIT_USER
    assert sentence in capsys.readouterr().err


def test_a_missing_text_is_rejected(sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", str(sources / "lm")]) == EXIT_USER
    assert "no text to generate from is given. Give TEXT or --file FILE." in capsys.readouterr().err


def test_an_empty_file_is_rejected(
    sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "none.txt").touch()
    command = ["generate", str(sources / "seq2seq"), "--file", str(tmp_path / "none.txt")]
    assert main(command) == EXIT_USER
    assert "none.txt: the file is empty" in capsys.readouterr().err
