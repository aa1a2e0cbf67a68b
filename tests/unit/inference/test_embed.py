"""`ptm embed` gives transformers' last hidden states, pooled or per token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER, UserError
from ptm.inference.embed import Embedder
from ptm.interop.sources.open import open_source
from ptm.nn.model_shape import Pooling
from tests.support.bert_pairs import TINY, TOLERANCE, Pair, blocks_of, make_pair

TEXTS = ["A cow goes moo.", "日本的首都是东京，人口很多。", "[MASK] of hot", "红" * 60, "a", "b"]


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, bundled_texts: list[str], bundled_vocab: Path
) -> Pair:
    return make_pair(
        tmp_path_factory.mktemp("embed"), blocks_of(bundled_vocab, TINY), bundled_texts
    )


@pytest.fixture(scope="module")
def embedder(pair: Pair) -> Embedder:
    return Embedder(open_source(str(pair.folder)))


@pytest.fixture(scope="module")
def theirs(pair: Pair) -> list[np.ndarray[Any, Any]]:
    """The last hidden state (T, D) of every text by itself."""
    model = AutoModel.from_pretrained(pair.folder, add_pooling_layer=False).eval()
    tokenizer = AutoTokenizer.from_pretrained(pair.folder)
    with torch.no_grad():
        return [
            model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].numpy()
            for text in TEXTS
        ]


def close(ours: np.ndarray[Any, Any], reference: np.ndarray[Any, Any]) -> bool:
    assert ours.shape == reference.shape
    return bool(np.abs(ours - reference).max() <= TOLERANCE * np.abs(reference).max())


def test_token_vectors_are_transformers_last_hidden_states(
    pair: Pair, embedder: Embedder, theirs: list[np.ndarray[Any, Any]]
) -> None:
    found = embedder.tokens(TEXTS, places=TEXTS)
    tokenizer = AutoTokenizer.from_pretrained(pair.folder)
    for text, ours, reference in zip(TEXTS, found, theirs, strict=True):
        assert list(ours.tokens) == tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])
        assert ours.vectors.dtype == np.float32
        assert close(ours.vectors, reference)


@pytest.mark.parametrize("pooling", ["first", "mean", "max"])
def test_sentence_vectors_pool_only_the_tokens_of_their_text(
    embedder: Embedder, theirs: list[np.ndarray[Any, Any]], pooling: Pooling
) -> None:
    pool = {"first": lambda v: v[0], "mean": lambda v: v.mean(0), "max": lambda v: v.max(0)}
    expected = np.stack([pool[pooling](vectors) for vectors in theirs])
    assert close(embedder.sentences(TEXTS, places=TEXTS, pooling=pooling), expected)


def test_batched_texts_have_the_vectors_of_single_texts(embedder: Embedder) -> None:
    texts = [text[:40] for text in TEXTS * 60]
    together = embedder.sentences(texts, places=texts, pooling="mean")
    alone = [embedder.sentences([t], places=[t], pooling="mean")[0] for t in texts[: len(TEXTS)]]
    assert close(together, np.stack(alone * 60))


def test_the_model_and_its_export_give_the_same_vectors(pair: Pair, embedder: Embedder) -> None:
    model = Embedder(open_source(str(pair.folder.with_name("model"))))
    ours, exported = (e.sentences(TEXTS, places=TEXTS, pooling="mean") for e in (model, embedder))
    assert np.array_equal(ours, exported)


def test_the_longest_text_that_the_model_reads_is_embedded_and_a_longer_one_rejected(
    embedder: Embedder,
) -> None:
    (found,) = embedder.tokens(["红" * 126], places=["first"])
    assert found.vectors.shape[0] == 128
    with pytest.raises(UserError, match=r"^second: the text has 129 tokens.* reads at most 128\."):
        embedder.tokens(["红" * 126, "红" * 127], places=["first", "second"])


# The command


def test_json_has_one_vector_per_text(
    pair: Pair, embedder: Embedder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["embed", str(pair.folder), *TEXTS, "--pooling", "first", "--json"]) == EXIT_DONE
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] for line in lines] == TEXTS
    expected = embedder.sentences(TEXTS, places=TEXTS, pooling="first")
    assert np.array_equal(np.array([line["vector"] for line in lines], np.float32), expected)


def test_out_has_one_row_per_text_of_the_command_and_the_file(
    pair: Pair, embedder: Embedder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "texts.txt", tmp_path / "vectors.npy"
    file.write_text("\n".join(TEXTS[1:]) + "\n", encoding="utf-8")
    arguments = ["embed", str(pair.folder), TEXTS[0], "--file", str(file), "--out", str(out)]
    assert main(arguments) == EXIT_DONE
    assert capsys.readouterr().out == f"{out}: 6 vectors of 128 numbers\n"
    vectors = np.load(out)
    assert vectors.dtype == np.float32
    assert np.array_equal(vectors, embedder.sentences(TEXTS, places=TEXTS, pooling="mean"))


def test_rows_give_the_token_vectors_of_each_text(
    pair: Pair, embedder: Embedder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "vectors.npy"
    arguments = ["embed", str(pair.folder), *TEXTS, "--tokens", "--json", "--out", str(out)]
    assert main(arguments) == EXIT_DONE
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    vectors = np.load(out)
    for line, found in zip(lines, embedder.tokens(TEXTS, places=TEXTS), strict=True):
        assert line["tokens"] == list(found.tokens)
        assert np.array_equal(vectors[slice(*line["rows"])], found.vectors)
    assert lines[-1]["rows"][1] == len(vectors)


def test_plain_output_shows_texts_and_cosine_similarities(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["embed", str(pair.folder), "red", "red", "红"]) == EXIT_DONE
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == lines[2] == "red"
    assert "cosine" not in lines[1]
    assert lines[3].endswith("cosine to the first 1.000")
    assert main(["embed", str(pair.folder), "red", "--tokens"]) == EXIT_DONE
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("  [CLS]  ")
    assert lines[-1].startswith("  [SEP]  ")


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("a\n" + "红" * 127 + "\n", [], r"{file}:2: the text has 129 tokens"),
        ("a\n\nb\n", [], r"{file}:2: the text is empty"),
        (b"a\xff", [], r"{file}: the file is not valid UTF-8 at byte 1"),
        (None, [], r"{file}: cannot be read: No such file"),
        ("a", ["--out", "vectors.txt"], r'--out "vectors.txt": the name must end in .npy'),
        ("a", ["--out", "/nowhere/at/all.npy"], r'"/nowhere/at" is not a folder'),
        ("a", ["--tokens", "--pooling", "max"], r"Use only one of them"),
    ],
)
def test_inputs_that_cannot_be_embedded_are_rejected_in_one_line(
    pair: Pair,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: str | bytes | None,
    options: list[str],
    message: str,
) -> None:
    file = tmp_path / "texts.txt"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert main(["embed", str(pair.folder), "--file", str(file), *options]) == EXIT_USER
    error = capsys.readouterr().err
    assert message.format(file=file) in error
    assert len(error.splitlines()) == 1


def test_a_text_that_is_not_utf8_is_rejected(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    # Python decodes an argument that ends within a character to a surrogate.
    for command in ("embed", "fill"):
        assert main([command, str(pair.folder), "[MASK] and \udce7"]) == EXIT_USER
        assert (
            '"[MASK] and ?": the text is not valid UTF-8 at character 11' in capsys.readouterr().err
        )


def test_a_missing_text_is_rejected(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", str(pair.folder)]) == EXIT_USER
    error = capsys.readouterr().err
    assert "no text to embed is given. Give TEXT or --file FILE." in error
