"""gigatoken gives the ids of the pipeline, or an error."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ptm.errors import UserError
from ptm.text.tokenizers import Tokenizer
from ptm.text.tokenizers.gigatoken_encoder import GigatokenEncoder
from tests.support.vocabularies import bundled_config

SPECIAL = ["<|endoftext|>", "<s> a</s>", "a<mask>b", "<pad>"]


def loaded(folder: Path, **options: Any) -> Tokenizer:
    return bundled_config("bpe", folder, **options).load()


def arrays_as_lists(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    ids, lengths = tokenizer.encode_arrays(texts)
    ends = lengths.cumsum().tolist()
    return [
        ids[end - length : end].tolist() for end, length in zip(ends, lengths.tolist(), strict=True)
    ]


@pytest.mark.parametrize("prefix_space", [False, True])
def test_ids_are_those_of_the_pipeline(
    prefix_space: bool, tmp_path: Path, bundled_lines: list[str], odd_texts: list[str]
) -> None:
    pytest.importorskip("gigatoken", reason="gigatoken is not installed")
    tokenizer = loaded(tmp_path, prefix_space=prefix_space)
    assert isinstance(tokenizer.encoder, GigatokenEncoder)
    texts = [*bundled_lines, *odd_texts, *SPECIAL, "", " ", "a" * 10_000]
    assert arrays_as_lists(tokenizer, texts) == tokenizer.encode(texts)


def test_a_normalizer_is_left_to_the_pipeline(tmp_path: Path) -> None:
    # The vocabulary was trained on cased text, so its file is not loaded with `lowercase`.
    config = bundled_config("bpe", tmp_path, lowercase=True)
    assert not isinstance(config.encoder(config.read()), GigatokenEncoder)


def test_other_ids_are_an_error_that_names_the_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong:
        def encode_batch_list(self, texts: list[str], *, parallel: bool) -> list[list[int]]:
            return [[0] for _ in texts]

    tokenizer = loaded(tmp_path)
    encoder = GigatokenEncoder(tokenizer.config.backend(tokenizer.vocabulary))
    package = SimpleNamespace(Tokenizer=SimpleNamespace(from_json=lambda text: Wrong()))
    monkeypatch.setitem(sys.modules, "gigatoken", package)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.99")
    with pytest.raises(UserError, match=r"gigatoken 0\.99 gives other token ids"):
        encoder.encode_arrays(["a"])
