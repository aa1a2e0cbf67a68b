"""Tokenizers of next-token models: AutoTokenizer's ids, and reading of others' files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from tokenizers import normalizers
from transformers import AutoTokenizer, GPT2Tokenizer, LlamaTokenizer

from ptm.components.objectives.lm import Lm
from ptm.errors import UserError
from ptm.interop.hf.io.export import export_to_huggingface
from ptm.interop.hf.io.tokenizer_folder import HuggingFaceTokenizer
from ptm.interop.import_model import import_from_huggingface, write_imported
from ptm.interop.sources.open import open_source
from ptm.text.tokenizers import Tokenizer
from ptm.text.tokenizers.bpe import Bpe
from ptm.text.tokenizers.sentencepiece import SentencePiece
from tests.support.bert_pairs import plan_of, random_weights, recipe_of
from tests.support.causal_pairs import causal_blocks
from tests.support.sentencepieces import CORPUS
from tests.support.vocabularies import bundled_config
from tests.unit.interop.test_exported_tokenizer import ODD_TEXTS
from tests.unit.interop.test_tokenizer_folders import read_back

END = "<|endoftext|>"


@pytest.fixture(scope="session")
def gpt2_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vocab.json and a merges.txt like OpenAI's: the only special token comes last."""
    config = bundled_config("bpe", tmp_path_factory.mktemp("bpe"))
    assert isinstance(config, Bpe)
    tokens = [token for token in config.read().tokens if not token.startswith("<")]
    folder = tmp_path_factory.mktemp("gpt2")
    ids = {token: index for index, token in enumerate([*tokens, "<", END])}
    (folder / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")
    shutil.copyfile(config.merges, folder / "merges.txt")
    return folder


@pytest.fixture(scope="session")
def llama_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SentencePiece model like LLaMA's: BPE with byte fallback and without normalisation."""
    files = (CORPUS / "english.txt", CORPUS / "chinese.txt")
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    path = tmp_path_factory.mktemp("llama") / "tokenizer.model"
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines[::8]),
            model_writer=file,
            model_type="bpe",
            vocab_size=1600,
            byte_fallback=True,
            character_coverage=0.98,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            split_digits=True,
            num_threads=1,
            minloglevel=2,
        )
    return path


def blocks_of(kind: str, files: Path, vocab: Path) -> dict[str, Any]:
    blocks = causal_blocks("llama" if kind == "sentencepiece" else "gpt2", vocab)
    if kind == "bpe":
        paths = {
            name: str(files / f) for name, f in (("vocab", "vocab.json"), ("merges", "merges.txt"))
        }
        blocks["tokenizer"] = {"type": "bpe", **paths}
    if kind == "sentencepiece":
        specials = {"pad": "</s>"}
        model = {"type": "sentencepiece", "model": str(files), "special_tokens": specials}
        blocks["tokenizer"] = model
    return blocks


def exported(folder: Path, blocks: dict[str, Any], *, start: bool = True) -> tuple[Tokenizer, Any]:
    """Return our tokenizer and the one that transformers loads from an export of a model."""
    blocks["objective"]["add_bos"] = start
    recipe = recipe_of(blocks)
    write_imported(folder / "model", blocks, random_weights(plan_of(recipe)), heading="random")
    source = open_source(str(folder / "model"))
    export_to_huggingface(source, folder / "export", weights_format="safetensors")
    return recipe.tokenizer.load(), AutoTokenizer.from_pretrained(folder / "export")


@pytest.fixture(scope="module", params=["wordpiece", "bpe", "sentencepiece"])
def each(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    small_vocab: Path,
    gpt2_files: Path,
    llama_model: Path,
) -> tuple[Path, Tokenizer, Any]:
    files = {"wordpiece": small_vocab, "bpe": gpt2_files, "sentencepiece": llama_model}
    blocks = blocks_of(request.param, files[request.param], small_vocab)
    folder = tmp_path_factory.mktemp(request.param)
    return folder, *exported(folder, blocks)


def test_autotokenizer_gives_the_same_ids(
    each: tuple[Path, Tokenizer, Any], bundled_texts: list[str]
) -> None:
    _, ours, theirs = each
    texts = [*bundled_texts, *ODD_TEXTS]
    expected = theirs(texts, add_special_tokens=False)["input_ids"]
    for text, mine, other in zip(texts, ours.encode(texts), expected, strict=True):
        assert mine == other, text


def test_a_text_gets_a_start_token_but_no_end_token(
    each: tuple[Path, Tokenizer, Any],
) -> None:
    """An end token after a prompt would mean that the text is complete."""
    _, ours, theirs = each
    cls, sep, pad = (ours.vocabulary.special_id(role) for role in ("cls", "sep", "pad"))
    found = theirs("the 我")
    assert found["input_ids"] == [cls, *ours.encode(["the 我"])[0]]
    assert set(found) == {"input_ids", "attention_mask"}
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (cls, sep, pad)


def test_a_model_trained_without_a_start_token_gets_none(
    tmp_path: Path, small_vocab: Path, gpt2_files: Path
) -> None:
    blocks = blocks_of("bpe", gpt2_files, small_vocab)
    ours, theirs = exported(tmp_path, blocks, start=False)
    assert theirs("the 我")["input_ids"] == ours.encode(["the 我"])[0]
    assert len(theirs("the", "a")["input_ids"]) == len(
        ours.encode(["the"])[0] + ours.encode(["a"])[0]
    )


@pytest.mark.parametrize("start", [True, False])
def test_an_import_uses_a_start_token_if_its_tokenizer_adds_one(
    tmp_path: Path, small_vocab: Path, gpt2_files: Path, start: bool
) -> None:
    exported(tmp_path, blocks_of("bpe", gpt2_files, small_vocab), start=start)
    (tmp_path / "export" / "recipe.yaml").unlink()
    import_from_huggingface(str(tmp_path / "export"), tmp_path / "imported")
    objective = open_source(str(tmp_path / "imported")).recipe().objective
    assert isinstance(objective, Lm)
    assert objective.add_bos == start


@pytest.mark.parametrize("start", [True, False])
def test_the_post_processor_decides_on_the_start_token(
    tmp_path: Path, small_vocab: Path, gpt2_files: Path, start: bool
) -> None:
    """transformers 5 ignores add_bos_token beside a tokenizer.json."""
    exported(tmp_path, blocks_of("bpe", gpt2_files, small_vocab), start=start)
    path = tmp_path / "export" / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, "add_bos_token": not start}))
    theirs = AutoTokenizer.from_pretrained(tmp_path / "export")
    adds = theirs("the")["input_ids"][0] == theirs.bos_token_id
    assert HuggingFaceTokenizer(tmp_path / "export", {}).adds_start == adds == start


def test_without_a_tokenizer_json_add_bos_token_decides(tmp_path: Path, gpt2_files: Path) -> None:
    shutil.copytree(gpt2_files, tmp_path / "theirs")
    for start in (True, False):
        settings = json.dumps({"add_bos_token": start})
        (tmp_path / "theirs" / "tokenizer_config.json").write_text(settings)
        assert HuggingFaceTokenizer(tmp_path / "theirs", {}).adds_start == start


def test_an_imported_ptm_export_keeps_its_objective(tmp_path: Path, small_vocab: Path) -> None:
    blocks = blocks_of("wordpiece", small_vocab, small_vocab)
    blocks["objective"]["concatenate"] = True
    exported(tmp_path, blocks)
    import_from_huggingface(str(tmp_path / "export"), tmp_path / "imported")
    objective = open_source(str(tmp_path / "imported")).recipe().objective
    assert isinstance(objective, Lm)
    assert objective.concatenate


def test_an_export_read_back_is_the_same_tokenizer(each: tuple[Path, Tokenizer, Any]) -> None:
    folder, ours, _ = each
    assert read_back(folder / "export").fingerprint == ours.fingerprint


def test_a_tokenizer_saved_by_transformers_is_read_back(
    each: tuple[Path, Tokenizer, Any], tmp_path: Path, bundled_texts: list[str]
) -> None:
    """From tokenizer.json alone, for all three types."""
    _, ours, theirs = each
    theirs.save_pretrained(tmp_path)
    for name in ("vocab.txt", "vocab.json", "merges.txt", "tokenizer.model"):
        (tmp_path / name).unlink(missing_ok=True)
    again = read_back(tmp_path)
    texts = [*bundled_texts, *ODD_TEXTS]
    assert again.encode(texts) == ours.encode(texts)
    for role in ("cls", "sep", "pad"):
        assert again.vocabulary.special_id(role) == ours.vocabulary.special_id(role), role


def test_the_two_files_of_gpt2_are_enough(
    tmp_path: Path, gpt2_files: Path, bundled_texts: list[str]
) -> None:
    """OpenAI's folders do not name any special token."""
    shutil.copytree(gpt2_files, tmp_path / "theirs")
    (tmp_path / "theirs" / "tokenizer_config.json").write_text('{"model_max_length": 1024}')
    ours = read_back(tmp_path / "theirs")
    texts = [*bundled_texts, *ODD_TEXTS]
    theirs = GPT2Tokenizer.from_pretrained(str(gpt2_files))
    assert ours.encode(texts) == theirs(texts)["input_ids"]
    last = ours.vocabulary.size - 1
    assert {ours.vocabulary.special_id(r) for r in ("pad", "unk", "cls", "sep")} == {last}


def test_bos_and_eos_are_the_start_and_end_tokens(tmp_path: Path, gpt2_files: Path) -> None:
    shutil.copytree(gpt2_files, tmp_path / "theirs")
    settings = {"bos_token": "<", "eos_token": {"content": END}, "cls_token": None}
    (tmp_path / "theirs" / "tokenizer_config.json").write_text(json.dumps(settings))
    specials = read_back(tmp_path / "theirs").vocabulary.specials
    assert (specials["cls"], specials["sep"]) == ("<", END)


def test_the_shared_byte_level_vocabulary_gives_gpt2s_ids(
    tmp_path: Path, shared_data: Path, review_texts: list[str]
) -> None:
    files = [shared_data / "vocab" / f"huggingface_gpt2_{name}.txt" for name in ("vocab", "merges")]
    named = dict.fromkeys(("pad", "unk", "cls", "sep"), END)
    ours = Bpe(type="bpe", vocab=str(files[0]), merges=str(files[1]), special_tokens=named).load()
    (tmp_path / "vocab.json").write_text(json.dumps(ours.vocabulary.ids))
    shutil.copyfile(files[1], tmp_path / "merges.txt")
    theirs = GPT2Tokenizer.from_pretrained(str(tmp_path))
    texts = [*review_texts, *ODD_TEXTS]
    assert ours.encode(texts) == theirs(texts)["input_ids"]
    assert ours.vocabulary.special_id("sep") == theirs.eos_token_id


def llama_folder(folder: Path, model: Path, *, old: bool) -> None:
    """Write a tokenizer.json like LLaMA's: with normalisers (`old`) or with a Metaspace."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    ours = SentencePiece(type="sentencepiece", model=str(model), special_tokens={"pad": "</s>"})
    backend = ours.backend(ours.read())
    if old:
        backend.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
        backend.pre_tokenizer = None
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    backend.save(str(folder / "tokenizer.json"))
    settings = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": None}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({**settings, "tokenizer_class": "LlamaTokenizer"})
    )
    assert processor.piece_size() == len(ours.read().tokens)


@pytest.mark.parametrize("old", [True, False], ids=["normalisers", "metaspace"])
def test_a_llama_tokenizer_json_gives_the_ids_of_its_model(
    tmp_path: Path, llama_model: Path, bundled_texts: list[str], old: bool
) -> None:
    llama_folder(tmp_path, llama_model, old=old)
    ours = read_back(tmp_path)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(llama_model))
    texts = [*bundled_texts, *ODD_TEXTS]
    assert ours.encode(texts) == processor.encode(texts)
    assert ours.vocabulary.specials["pad"] == "</s>"
    theirs = LlamaTokenizer.from_pretrained(str(tmp_path))
    assert theirs(texts[:8], add_special_tokens=False)["input_ids"] == ours.encode(texts[:8])


def tokenizer_error(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        _ = HuggingFaceTokenizer(folder, {}).block
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_word_based_bpe_of_the_first_gpt_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text('{"a": 0, "b</w>": 1, "ab</w>": 2, "<unk>": 3}')
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b</w>\n")
    assert "</w>" in tokenizer_error(tmp_path)


def without_padding(folder: Path, source: Path, **named: str) -> Path:
    """Write GPT-2's files with <eos> in place of <|endoftext|>; `named`: the special tokens."""
    ids = json.loads((source / "vocab.json").read_text(encoding="utf-8"))
    ids = {"<eos>" if token == END else token: index for token, index in ids.items()}
    shutil.copytree(source, folder)
    (folder / "vocab.json").write_text(json.dumps(ids), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    return folder


def test_the_end_token_of_a_byte_level_tokenizer_is_its_padding(
    tmp_path: Path, gpt2_files: Path
) -> None:
    folder = without_padding(tmp_path / "theirs", gpt2_files, eos_token="<eos>")
    assert read_back(folder).vocabulary.special_token("pad") == "<eos>"


def test_a_tokenizer_without_end_and_padding_is_rejected(tmp_path: Path, gpt2_files: Path) -> None:
    folder = without_padding(tmp_path / "theirs", gpt2_files)
    assert tokenizer_error(folder) == (
        f"{folder / 'tokenizer_config.json'}: the tokenizer has no token for padding. Name one as "
        "pad_token; the end token can have this role, too."
    )


def test_lowercasing_of_a_vocabulary_with_capitals_is_rejected(tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "Paris", "London", "the", "cow"]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    assert "Set do_lower_case to false." in tokenizer_error(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert read_back(tmp_path).encode(["Paris"]) == [[words.index("Paris")]]
