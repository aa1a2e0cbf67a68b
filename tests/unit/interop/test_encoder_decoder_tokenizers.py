"""Tokenizers of T5, BART and PEGASUS have transformers' ids, and exports are read back."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from pydantic import TypeAdapter
from transformers import AutoTokenizer, PegasusTokenizer, T5Tokenizer

from ptm.errors import UserError
from ptm.interop.hf.io.tokenizer import write_tokenizer
from ptm.interop.hf.io.tokenizer_folder import HuggingFaceTokenizer
from ptm.text.tokenizers import AnyTokenizer, Tokenizer, TokenizerConfig
from ptm.text.tokenizers.sentencepiece import SentencePiece
from ptm.text.tokenizers.wordpiece import WordPiece
from tests.support.sentencepieces import CORPUS
from tests.support.vocabularies import bundled_config

TEXTS = ["The colour of the sky", "天气预报 3,456", "a  b\tc", "", "ﬁne — naïve"]


@pytest.fixture(scope="module")
def t5_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file whose first pieces are <pad>, </s>, <unk>, as for T5 and PEGASUS."""
    return trained(tmp_path_factory.mktemp("t5") / "spiece.model")


def trained(path: Path, *, symbols: tuple[str, ...] = ()) -> Path:
    lines = (CORPUS / "english.txt").read_text(encoding="utf-8").splitlines()
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines[::4]),
        model_writer=model,
        vocab_size=400,
        hard_vocab_limit=False,
        user_defined_symbols=list(symbols),
        num_threads=1,
        minloglevel=2,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
    )
    path.write_bytes(model.getvalue())
    return path


def ours_of(model: Path, **options: Any) -> Tokenizer:
    return SentencePiece(type="sentencepiece", model=str(model), **options).load()


def written(out: Path, tokenizer: Tokenizer, model_type: str) -> Any:
    """Write the tokenizer to the folder `out` and load it with transformers."""
    out.mkdir()
    config = {"model_type": model_type, "vocab_size": tokenizer.vocabulary.size}
    (out / "config.json").write_text(json.dumps(config))
    write_tokenizer(out, tokenizer, positions=64, config=config)
    return AutoTokenizer.from_pretrained(out)


def read(folder: Path) -> Tokenizer:
    config = json.loads((folder / "config.json").read_text())
    adapter: TypeAdapter[TokenizerConfig] = TypeAdapter(AnyTokenizer)
    return adapter.validate_python(HuggingFaceTokenizer(folder, config).block).load()


def theirs_of(folder: Path, model: Path, kind: type[Any], model_type: str, **config: Any) -> Any:
    """transformers' own tokenizer over the model file, in a folder with a config."""
    folder.mkdir()
    shutil.copyfile(model, folder / "spiece.model")
    (folder / "config.json").write_text(json.dumps({"model_type": model_type, **config}))
    settings = {"tokenizer_class": kind.__name__}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return kind.from_pretrained(folder)


def test_sentinels_have_the_ids_of_t5(tmp_path: Path, t5_model: Path) -> None:
    theirs = theirs_of(tmp_path / "theirs", t5_model, T5Tokenizer, "t5")
    ours = ours_of(t5_model, sentinels=100)
    assert len(theirs) == ours.vocabulary.size
    assert ours.vocabulary.ids == theirs.get_vocab()
    last = ours.vocabulary.size - 1
    assert ours.vocabulary.sentinels.tolist() == list(range(last, last - 100, -1))
    assert ours.vocabulary.special_id("sep") == theirs.eos_token_id


def test_pegasus_has_its_special_tokens_before_the_pieces(tmp_path: Path, t5_model: Path) -> None:
    theirs = theirs_of(tmp_path / "theirs", t5_model, PegasusTokenizer, "pegasus")
    ours = ours_of(t5_model, ids="pegasus")
    assert ours.vocabulary.ids == theirs.get_vocab()
    for role, token in (("pad", "<pad>"), ("sep", "</s>"), ("mask", "<mask_2>")):
        assert ours.vocabulary.special_id(role) == theirs.convert_tokens_to_ids(token)
    marked = [theirs.convert_tokens_to_ids(t) for t in ("<mask_1>", "<unk_2>", "<unk_102>")]
    assert not set(marked) & set(ours.vocabulary.ordinary_ids.tolist())
    assert ours.encode(["a 气"])[0][-1] == theirs.unk_token_id


OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("t5", {"sentinels": 100, "unused": 28}),
    ("mt5", {"sentinels": 5}),
    ("pegasus", {"ids": "pegasus"}),
]


@pytest.mark.parametrize(("family", "options"), OPTIONS)
def test_an_exported_tokenizer_gives_the_same_ids_and_is_read_back(
    tmp_path: Path, t5_model: Path, family: str, options: dict[str, Any]
) -> None:
    ours = ours_of(t5_model, **options)
    theirs = written(tmp_path / "out", ours, family)
    for text in TEXTS:
        assert theirs(text)["input_ids"] == ours.encode_with_masks(text), text
    assert theirs("a", "b")["input_ids"] == ours.encode_with_masks("a") + ours.encode_with_masks(
        "b"
    )
    assert len(theirs) == ours.vocabulary.size - options.get("unused", 0)
    ids = ours.vocabulary.ids
    for mark in ("<extra_id_0>", "<extra_id_3>", "<mask_1>", "<mask_2>"):
        if mark in ids:
            found = theirs(f"the {mark} sky")["input_ids"]
            assert ids[mark] in found
            assert mark not in theirs.decode(found, skip_special_tokens=True)
    assert read(tmp_path / "out").fingerprint == ours.fingerprint


@pytest.mark.parametrize(("kind", "family"), [(T5Tokenizer, "t5"), (PegasusTokenizer, "pegasus")])
@pytest.mark.parametrize("with_model", [True, False])
def test_a_folder_of_transformers_with_spare_rows_is_read(
    tmp_path: Path, t5_model: Path, kind: type, family: str, with_model: bool
) -> None:
    """T5's tables have 28 rows more than its tokenizer has tokens."""
    folder = tmp_path / "theirs"
    size = len(ours_of(t5_model).vocabulary.tokens) + (100 if family == "t5" else 103) + 28
    theirs = theirs_of(folder, t5_model, kind, family, vocab_size=size)
    theirs.save_pretrained(folder)
    if not with_model:
        (folder / "spiece.model").unlink()
    ours = read(folder)
    assert ours.vocabulary.size == size - 28
    for token, index in theirs.get_vocab().items():
        assert ours.vocabulary.ids[token] == index
    for text in ("The colour of the sky", "well-known things"):
        expected = theirs(text, add_special_tokens=False)["input_ids"]
        assert ours.encode([text])[0] == expected


def test_mt5_sentinels_that_are_pieces_are_found(tmp_path: Path) -> None:
    symbols = tuple(f"▁<extra_id_{number}>" for number in range(4, -1, -1))
    model = trained(tmp_path / "spiece.model", symbols=symbols)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mt5"}))
    ours = read(tmp_path)
    assert len(ours.vocabulary.sentinels) == 5
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
    for number, index in enumerate(ours.vocabulary.sentinels.tolist()):
        assert pieces.id_to_piece(index) == f"▁<extra_id_{number}>"
    assert ours.vocabulary.sentinels[0] not in ours.encode(["the <extra_id_0> sky"])[0]
    theirs = written(tmp_path / "out", ours, "mt5")
    assert int(ours.vocabulary.sentinels[0]) in theirs("the <extra_id_0> sky")["input_ids"]


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_a_wordpiece_vocabulary_keeps_its_sentinels(
    tmp_path: Path, small_vocab: Path, family: str
) -> None:
    tokens = small_vocab.read_text(encoding="utf-8").splitlines()
    vocab = tmp_path / "vocab.txt"
    sentinels = [f"<extra_id_{number}>" for number in range(10)]
    vocab.write_text("\n".join([*tokens, *sentinels]) + "\n", encoding="utf-8")
    ours = WordPiece(type="wordpiece", vocab=str(vocab)).load()
    theirs = written(tmp_path / "out", ours, family)
    for text in TEXTS:
        assert theirs(text)["input_ids"] == ours.encode_with_masks(text), text
    found = theirs("天<extra_id_0>气<extra_id_9>")["input_ids"]
    assert [i for i in found if i >= len(tokens)] == [len(tokens), len(tokens) + 9]
    assert len(theirs) == ours.vocabulary.size
    assert read(tmp_path / "out").fingerprint == ours.fingerprint


def test_sentinels_with_the_names_of_uer_on_the_hub_are_found(
    tmp_path: Path, small_vocab: Path
) -> None:
    tokens = small_vocab.read_text(encoding="utf-8").splitlines()
    (tmp_path / "vocab.txt").write_text("\n".join([*tokens, "extra0", "extra1"]) + "\n")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "t5"}))
    assert read(tmp_path).vocabulary.sentinels.tolist() == [len(tokens), len(tokens) + 1]


def test_byte_level_bpe_in_a_bart_folder_has_the_special_tokens_of_bart(tmp_path: Path) -> None:
    ours = bundled_config("bpe", tmp_path / "files").load()
    theirs = written(tmp_path / "out", ours, "bart")
    for text in (*TEXTS, "the <mask> of"):
        assert theirs(text)["input_ids"] == ours.encode_with_masks(text), text
    sep, second = ours.vocabulary.special_id("sep"), ours.encode_with_masks("b")[1:]
    assert theirs("a", "b")["input_ids"] == [*ours.encode_with_masks("a"), sep, *second]
    assert read(tmp_path / "out").fingerprint == ours.fingerprint


def test_sentinels_that_are_already_pieces_are_rejected(tmp_path: Path) -> None:
    model = trained(tmp_path / "own.model", symbols=("<extra_id_0>",))
    with pytest.raises(UserError, match=r"the model already has the piece <extra_id_0>"):
        ours_of(model, sentinels=2)


def test_pegasus_ids_need_a_file_with_its_first_pieces(tmp_path: Path) -> None:
    config = bundled_config("unigram", tmp_path / "files", ids="pegasus")
    with pytest.raises(
        UserError,
        match=r"tokenizer\.ids: pegasus needs a model that starts with <pad>, </s>, <unk>",
    ):
        config.load()


def test_an_unsupported_pegasus_offset_is_rejected(tmp_path: Path, t5_model: Path) -> None:
    theirs_of(tmp_path / "theirs", t5_model, PegasusTokenizer, "pegasus")
    settings = {"tokenizer_class": "PegasusTokenizer", "offset": 0}
    (tmp_path / "theirs" / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="offset = 0"):
        read(tmp_path / "theirs")
