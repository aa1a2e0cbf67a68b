"""Copies of a tokenizer's files, for every tokenizer type."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from ptm.text.tokenizers import AnyTokenizer, TokenizerConfig
from ptm.text.tokenizers.files import block_with_copies, copy_files
from tests.support.vocabularies import bundled_config


@pytest.mark.parametrize("kind", ["wordpiece", "space", "bpe", "unigram"])
def test_a_tokenizer_loaded_from_copies_has_the_same_fingerprint(kind: str, tmp_path: Path) -> None:
    names = tmp_path / "names.json"
    names.write_text("{}")
    config = bundled_config(kind, tmp_path / "files", special_tokens=str(names))
    was_here, before = config.files_exist, config.load().fingerprint
    assert was_here
    copies = tmp_path / "copies"
    copy_files(config, copies)
    shutil.rmtree(tmp_path / "files")
    assert not config.files_exist
    adapter: TypeAdapter[TokenizerConfig] = TypeAdapter(AnyTokenizer)
    block = block_with_copies(config.model_dump(mode="json"), copies)
    assert adapter.validate_python(block).load().fingerprint == before


def test_options_that_are_not_paths_of_copied_files_are_unchanged(tmp_path: Path) -> None:
    (tmp_path / "bpe").write_text("a file with the name of a tokenizer type")
    (tmp_path / "vocab.json").write_text("{}")
    block = {"type": "bpe", "vocab": "far/vocab.json", "lowercase": False, "merges": "gone.txt"}
    expected = {**block, "vocab": str(tmp_path / "vocab.json")}
    assert block_with_copies(block, tmp_path) == expected
    named = block_with_copies(block, tmp_path, named=Path("out"))
    assert named["vocab"] == str(Path("out") / "vocab.json")
