"""The pipeline that is exported for a SentencePiece model has the package's ids, or is refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from ptm.errors import UserError
from ptm.text.tokenizers.charsmap import composed_texts
from ptm.text.tokenizers.sentencepiece import SentencePiece
from ptm.text.tokenizers.sentencepiece_file import read_sentencepiece
from tests.support.covers import by_default
from tests.support.hub_tokenizers import drawn_texts, training_lines

OPTIONS: dict[str, dict[str, Any]] = {
    "nmt_nfkc": {},
    "nfkc": {"normalization_rule_name": "nfkc"},
    "nmt_nfkc_cf": {"normalization_rule_name": "nmt_nfkc_cf"},
    "identity": {"normalization_rule_name": "identity"},
    "bytes": {"byte_fallback": True, "vocab_size": 1300},
    "bpe, bytes": {"byte_fallback": True, "model_type": "bpe", "vocab_size": 2000},
    "spaces": {"remove_extra_whitespaces": False},
    "no prefix": {"add_dummy_prefix": False},
}
DEFAULT = ("nmt_nfkc", "bytes")
RULES = "61 62\t78\n74 68 65\t44 45 52\n65 301\t45\n"
"""ab becomes x, the becomes DER, and é of two characters becomes E."""


def model(folder: Path, **options: Any) -> Path:
    written = io.BytesIO()
    defaults = {"vocab_size": 900, "hard_vocab_limit": False, "num_threads": 1, "minloglevel": 2}
    SentencePieceTrainer.train(
        sentence_iterator=iter(training_lines()), model_writer=written, **{**defaults, **options}
    )
    path = folder / "spiece.model"
    path.write_bytes(written.getvalue())
    return path


def assert_same_ids(path: Path, texts: list[str]) -> None:
    config = SentencePiece(
        type="sentencepiece", model=str(path), special_tokens={"pad": "</s>", "mask": "</s>"}
    )
    pipeline = config.backend(config.read())
    package = SentencePieceProcessor(model_file=str(path))
    found = pipeline.encode_batch(texts, add_special_tokens=False)
    for text, ids, other in zip(texts, package.encode(texts), found, strict=True):
        # Segmentations that are equally likely may be chosen otherwise.
        assert sorted(other.ids) == sorted(ids), ascii(text)


def composed(path: Path) -> list[str]:
    spec = read_sentencepiece(str(path)).proto.normalizer_spec
    return list(composed_texts(bytes(spec.precompiled_charsmap)))


@pytest.mark.parametrize("name", [by_default(name, DEFAULT) for name in OPTIONS])
def test_exported_ids_are_those_of_the_package(name: str, tmp_path: Path) -> None:
    path = model(tmp_path, **OPTIONS[name])
    whole = composed(path)
    some = whole[:: max(1, len(whole) // 2000)]
    literal = ["<0x0A>", "a <0x0A> b<0xE4>c", "▁a", "a▁ ", " ▁ a"]
    assert_same_ids(path, [*some, *(f"a{text}b" for text in some), *literal, *drawn_texts(500)])


def test_maps_of_several_characters_are_found_and_followed(tmp_path: Path) -> None:
    (tmp_path / "rules.tsv").write_text(RULES)
    path = model(tmp_path, normalization_rule_tsv=str(tmp_path / "rules.tsv"))
    assert sorted(composed(path)) == ["ab", "e\u0301", "the"]
    assert_same_ids(path, ["ab the then", "cafe\u0301 abba", "x DER E", "a b t he"])


def test_a_map_that_no_pipeline_follows_is_refused_for_an_export(tmp_path: Path) -> None:
    """A hundred other words: more than the pipeline can look for one by one."""
    words = [f"{a}{b}" for a in "abcdefghij" for b in "klmnopqrst"]
    lines = (f"{ord(w[0]):x} {ord(w[1]):x}\t{0x4E00 + i:x}\n" for i, w in enumerate(words))
    (tmp_path / "rules.tsv").write_text("".join(lines))
    path = model(tmp_path, normalization_rule_tsv=str(tmp_path / "rules.tsv"))
    config = SentencePiece(
        type="sentencepiece", model=str(path), special_tokens={"pad": "</s>", "mask": "</s>"}
    )
    assert config.load().encode(["ak"])
    with pytest.raises(UserError, match=r"normalises 'ak' as a whole, which transformers'"):
        config.backend(config.read())
