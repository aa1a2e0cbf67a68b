"""`ptm embed --layers mix`: a weighted sum of all layers, of transformers and of ELMo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import AutoModel, AutoTokenizer

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER, UserError
from ptm.inference.embed import Embedder, LayerMix
from ptm.interop.sources.open import open_source
from ptm.model.build import build_plan
from tests.support.bert_pairs import (
    TINY,
    TOLERANCE,
    Pair,
    blocks_of,
    make_pair,
    random_weights,
    recipe_of,
    write_model,
)

TEXTS = ["A cow goes moo.", "日本的首都是东京，人口很多。", "a"]
WEIGHTS = (0.2, -0.3, 1.5)
HALF = 16
F32 = NDArray[np.float32]


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, bundled_texts: list[str], bundled_vocab: Path
) -> Pair:
    folder = tmp_path_factory.mktemp("bert-layers")
    return make_pair(folder, blocks_of(bundled_vocab, TINY), bundled_texts)


def close(ours: F32, reference: F32) -> bool:
    assert ours.shape == reference.shape
    return bool(np.abs(ours - reference).max() <= TOLERANCE * np.abs(reference).max())


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["equal", "given"])
def test_bert_mixes_the_hidden_states_of_transformers(
    pair: Pair, weights: tuple[float, ...] | None
) -> None:
    model = AutoModel.from_pretrained(pair.folder, add_pooling_layer=False).eval()
    tokenizer = AutoTokenizer.from_pretrained(pair.folder)
    mixed = Embedder(open_source(str(pair.folder)), mix=LayerMix(weights))
    for text, ours in zip(TEXTS, mixed.tokens(TEXTS, places=TEXTS), strict=True):
        with torch.no_grad():
            found = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
        assert len(found.hidden_states) == 3, "the embedding and two layers"
        factors = weights or (1 / 3,) * 3
        expected = sum(w * h[0] for w, h in zip(factors, found.hidden_states, strict=True))
        assert close(ours.vectors, expected.numpy())


def test_the_whole_weight_of_the_last_layer_gives_the_last_layer(pair: Pair) -> None:
    source = open_source(str(pair.folder))
    last, mixed = Embedder(source), Embedder(source, mix=LayerMix((0.0, 0.0, 1.0)))
    ours, expected = (e.sentences(TEXTS, places=TEXTS, pooling="mean") for e in (mixed, last))
    assert close(ours, expected)


# ELMo


def elmo(folder: Path, vocab: Path, embedded: int) -> tuple[Path, dict[str, torch.Tensor]]:
    """Write an ELMo with random weights; return its folder and the weights."""
    blocks: dict[str, Any] = {
        "tokenizer": {"type": "wordpiece", "vocab": str(vocab)},
        "model": {
            "embedding": {"parts": ["word"], "layer_norm": False, "size": embedded},
            "encoder": {"type": "bilstm", "layers": 2, "hidden_size": 2 * HALF},
        },
        "objective": {"type": "bilm"},
    }
    recipe = recipe_of(blocks)
    size = recipe.tokenizer.load().vocabulary.size
    weights = random_weights(build_plan(recipe.model, recipe.objective, vocabulary_size=size))
    write_model(folder, blocks, weights)
    return folder, weights


def layers_of(weights: dict[str, torch.Tensor], ids: list[int]) -> list[torch.Tensor]:
    """The token vectors, repeated, and both layers (T, D), by torch's LSTM, for one text."""
    words = weights["word_embedding.weight"][ids]
    halves = [words, words]
    layers = [torch.cat(halves, -1)]
    for layer in range(2):
        for at, stream in enumerate(("forward_stream", "backward_stream")):
            lstm = nn.LSTM(halves[at].shape[-1], HALF)
            names = ("input_weight", "state_weight", "input_bias", "state_bias")
            for parameter, name in zip(lstm.parameters(), names, strict=True):
                parameter.data.copy_(weights[f"encoder_{layer:02}.{stream}.{name}"])
            read = halves[at].flip(0) if at else halves[at]
            output = lstm(read)[0].detach()
            halves[at] = output.flip(0) if at else output
        layers.append(torch.cat(halves, -1))
    return layers


def test_elmo_mixes_the_repeated_embedding_and_both_streams_without_special_tokens(
    tmp_path: Path, bundled_vocab: Path
) -> None:
    folder, weights = elmo(tmp_path / "elmo", bundled_vocab, HALF)
    source = open_source(str(folder))
    vocabulary = source.recipe().tokenizer.load().vocabulary
    found = Embedder(source, mix=LayerMix(WEIGHTS)).tokens(TEXTS, places=TEXTS)
    for one in found:
        assert not {"[CLS]", "[SEP]"} & set(one.tokens)
        layers = layers_of(weights, [vocabulary.ids[token] for token in one.tokens])
        parts = [w * layer for w, layer in zip(WEIGHTS, layers, strict=True)]
        assert close(one.vectors, torch.stack(parts).sum(0).numpy())
    last = Embedder(source).tokens(TEXTS, places=TEXTS)[0]
    layers = layers_of(weights, [vocabulary.ids[token] for token in last.tokens])
    assert close(last.vectors, layers[-1].numpy())


def test_an_embedding_of_another_width_is_left_out(tmp_path: Path, bundled_vocab: Path) -> None:
    folder, weights = elmo(tmp_path / "elmo", bundled_vocab, 12)
    source = open_source(str(folder))
    vocabulary = source.recipe().tokenizer.load().vocabulary
    (found,) = Embedder(source, mix=LayerMix()).tokens(TEXTS[:1], places=TEXTS[:1])
    layers = layers_of(weights, [vocabulary.ids[token] for token in found.tokens])
    assert close(found.vectors, ((layers[1] + layers[2]) / 2).numpy())
    reason = r"3 weights for a model of 2 layers \(without the embedding, whose width differs"
    with pytest.raises(UserError, match=reason):
        Embedder(source, mix=LayerMix(WEIGHTS))


def test_a_text_without_tokens_is_rejected(tmp_path: Path, bundled_vocab: Path) -> None:
    folder, _ = elmo(tmp_path / "elmo", bundled_vocab, HALF)
    with pytest.raises(UserError, match=r"^here: the text has no tokens"):
        Embedder(open_source(str(folder))).tokens(["\u200b"], places=["here"])


# The command


def test_the_command_writes_the_mixed_vectors(pair: Pair, tmp_path: Path) -> None:
    out = tmp_path / "vectors.npy"
    words = ["embed", str(pair.folder), *TEXTS, "--layers", "mix", "--out", str(out)]
    assert main([*words, "--layer-weights", *map(str, WEIGHTS)]) == EXIT_DONE
    embedder = Embedder(open_source(str(pair.folder)), mix=LayerMix(WEIGHTS))
    expected = embedder.sentences(TEXTS, places=TEXTS, pooling="mean")
    assert np.array_equal(np.load(out), expected)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--layers", "mix", "--layer-weights", "1", "2"],
            "--layer-weights: 2 weights for a model of 3 layers (the embedding, and 2 of the "
            "encoder). Give 3.",
        ),
        (["--layer-weights", "1"], "--layer-weights are the weights of --layers mix. Add it."),
        (
            ["--layers", "mix", "--layer-weights", "1", "nan", "1"],
            "--layer-weights: nan is not a finite number.",
        ),
        (["--layers", "mix", "--layer-weights", "0", "0", "0"], "all weights are 0"),
    ],
)
def test_invalid_options_are_rejected(
    pair: Pair,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    sentence: str,
) -> None:
    out = tmp_path / "vectors.npy"
    words = ["embed", str(pair.folder), "red", "--out", str(out), *options]
    assert main(words) == EXIT_USER
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
