"""A model with another vocabulary: kept rows are copied, new ones initialised by option."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ptm.cli import main
from ptm.errors import UserError
from ptm.inference.fill import Filler
from ptm.interop.adapt_vocabulary import adapt, find_tokenizer, rows_of, vocabulary_tensors
from ptm.interop.hf.io.export import export_to_huggingface
from ptm.interop.import_model import import_from_huggingface
from ptm.interop.sources.base import ModelSource
from ptm.interop.sources.open import open_source
from ptm.train.warm_start.load import load_warm_start
from tests.support.bert_pairs import (
    TINY,
    blocks_of,
    plan_of,
    random_weights,
    recipe_of,
    write_model,
)

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
BOUND = ("word_embedding.weight", "mlm_bias.bias", "mlm_unembed.weight")


def vocab(path: Path, *tokens: str) -> Path:
    path.write_text("\n".join((*SPECIALS, *tokens)) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def model(tmp_path: Path) -> ModelSource:
    """A model with an untied output matrix."""
    old = vocab(tmp_path / "vocab.txt", *"我们在北京看书", "the", "##s")
    blocks = blocks_of(old, TINY, tied=False)
    return write_model(tmp_path / "model", blocks, random_weights(plan_of(recipe_of(blocks))))


@pytest.fixture
def words(tmp_path: Path) -> Path:
    return vocab(tmp_path / "words.txt", "看书", "我", "the", "北京", "new", "在")


def adapted(tmp_path: Path, words: Path, new_rows: str = "pieces") -> ModelSource:
    out = tmp_path / f"adapted-{new_rows}"
    adapt(
        str(tmp_path / "model"),
        out,
        vocabulary=str(words),
        options=["type=space"],
        new_rows=new_rows,  # type: ignore[arg-type]
    )
    return open_source(str(out))


def rows(source: ModelSource, name: str, *tokens: str) -> torch.Tensor:
    ids = source.recipe().tokenizer.load().vocabulary.ids
    return source.tensors()[name][[ids[token] for token in tokens]]


@pytest.mark.parametrize("name", BOUND)
@pytest.mark.parametrize("new_rows", ["pieces", "mean", "normal"])
def test_kept_rows_are_copied_exactly(
    model: ModelSource, words: Path, tmp_path: Path, name: str, new_rows: str
) -> None:
    kept = (*SPECIALS, "我", "the", "在")
    made = adapted(tmp_path, words, new_rows)
    assert torch.equal(rows(made, name, *kept), rows(model, name, *kept))


@pytest.mark.parametrize("name", BOUND)
def test_new_rows_are_the_mean_of_their_pieces_or_of_kept_rows(
    model: ModelSource, words: Path, tmp_path: Path, name: str
) -> None:
    made = adapted(tmp_path, words)
    read, book = rows(model, name, "看", "书")
    assert torch.allclose(rows(made, name, "看书")[0], (read + book) / 2)
    kept = rows(model, name, *SPECIALS, "我", "the", "在").mean(dim=0)
    assert torch.allclose(rows(made, name, "new")[0], kept, atol=1e-6)
    mean = adapted(tmp_path, words, "mean")
    assert torch.allclose(rows(mean, name, "看书")[0], kept, atol=1e-6)


def test_normal_rows_have_the_standard_deviation_and_are_reproducible(
    model: ModelSource, words: Path, tmp_path: Path
) -> None:
    new = rows(adapted(tmp_path, words, "normal"), "word_embedding.weight", "看书", "北京", "new")
    assert float(new.std()) == pytest.approx(0.02, rel=0.1)
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "model").symlink_to(tmp_path / "model")
    again = adapted(tmp_path / "again", words, "normal")
    assert torch.equal(rows(again, "word_embedding.weight", "看书", "北京", "new"), new)


def test_all_other_tensors_are_unchanged(model: ModelSource, words: Path, tmp_path: Path) -> None:
    made, before = adapted(tmp_path, words).tensors(), model.tensors()
    assert made.keys() == before.keys()
    for name in before.keys() - set(BOUND):
        assert torch.equal(made[name], before[name]), name
    recipe = model.recipe()
    assert vocabulary_tensors(recipe, recipe.tokenizer.load().vocabulary.size) == set(BOUND)


def test_special_tokens_with_other_names_keep_their_rows(
    model: ModelSource, tmp_path: Path
) -> None:
    path = tmp_path / "renamed.txt"
    path.write_text("<s>\n<pad>\n</s>\n<unk>\n<mask>\n看\n")
    names = {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
    new = find_tokenizer(str(path), [f"special_tokens={json.dumps(names)}"]).load()
    old = model.recipe().tokenizer.load()
    by_role = [old.vocabulary.special_id(role) for role in ("cls", "pad", "sep", "unk", "mask")]
    assert rows_of(old, new).tolist() == [*by_role, old.vocabulary.ids["看"]]


@pytest.mark.parametrize("size", [1, 40])
def test_vocabularies_may_be_smaller_or_larger(
    model: ModelSource, tmp_path: Path, size: int
) -> None:
    words = vocab(tmp_path / "words.txt", "看", *(f"w{i}" for i in range(size - 1)))
    assert adapted(tmp_path, words, "mean").tensors()["mlm_bias.bias"].shape == (5 + size,)


def test_an_adapted_model_can_be_filled_exported_and_imported(
    model: ModelSource, words: Path, tmp_path: Path
) -> None:
    made = adapted(tmp_path, words)
    assert len(Filler(made).fill("我 [MASK] 看书", count=3)[0]) == 3
    export_to_huggingface(made, tmp_path / "export", weights_format="safetensors")
    import_from_huggingface(str(tmp_path / "export"), tmp_path / "import")
    again = open_source(str(tmp_path / "import"))
    assert again.recipe().tokenizer.type == "space"
    name = "mlm_unembed.weight"
    assert torch.equal(again.tensors()[name], made.tensors()[name])


def test_an_adapted_model_has_its_own_copy_of_the_vocabulary(
    model: ModelSource, words: Path, tmp_path: Path
) -> None:
    made = adapted(tmp_path, words)
    words.unlink()
    assert made.recipe().tokenizer.load().vocabulary.size == 11


def test_training_starts_from_the_adapted_model_only(
    model: ModelSource, words: Path, tmp_path: Path
) -> None:
    adapted(tmp_path, words)
    recipe = recipe_of(
        {**blocks_of(words, TINY, tied=False), "tokenizer": {"type": "space", "vocab": str(words)}}
    )
    plan, tokenizer = plan_of(recipe), recipe.tokenizer.load()

    def start(path: Path) -> object:
        return load_warm_start(str(path), plan, tokenizer, recipe.model)

    start(tmp_path / "adapted-pieces")
    with pytest.raises(UserError, match=r"ptm vocab adapt .*model OUT --vocab .*words\.txt"):
        start(tmp_path / "model")


def test_vocabularies_without_common_tokens_are_rejected(
    model: ModelSource, tmp_path: Path
) -> None:
    words = vocab(tmp_path / "words.txt", "жук", "кот")
    for new_rows in ("pieces", "mean"):
        with pytest.raises(UserError, match=r"no token in common with .*words\.txt except special"):
            adapted(tmp_path, words, new_rows)
        assert not (tmp_path / f"adapted-{new_rows}").exists()


def test_a_vocabulary_without_the_mask_is_rejected_with_a_suggestion(
    model: ModelSource, tmp_path: Path
) -> None:
    path = tmp_path / "words.txt"
    path.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASKED]\n看\n")
    with pytest.raises(UserError, match=r'has no \[MASK\].*Did you mean "\[MASKED\]"'):
        adapted(tmp_path, path)


def test_the_same_vocabulary_is_rejected(model: ModelSource, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has the same tokens as .*needs no adaptation"):
        adapted(tmp_path, tmp_path / "vocab.txt")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", r'"nowhere": no vocabulary, model or recipe with this path'),
        ("x.model", r"no vocabulary, model or recipe with this path"),
    ],
)
def test_a_missing_vocabulary_is_rejected(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find_tokenizer(name)


def test_an_unknown_option_is_rejected_with_a_suggestion(words: Path) -> None:
    with pytest.raises(UserError, match=r'lowercas: unknown key.*"lowercase"'):
        find_tokenizer(str(words), ["lowercas=false"])


# The command


def test_train_adapt_and_compare_from_the_command_line(
    model: ModelSource, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("我 在 北京 看书\n我们 在 北京 龘\n", encoding="utf-8")
    made, out = str(tmp_path / "made"), str(tmp_path / "out")
    assert main(["vocab", "train", str(corpus), "--type", "space", "--out", made]) == 0
    printed = capsys.readouterr().out
    assert f"vocab: {made}/vocab.txt" in printed
    assert "size: 7" in printed
    assert main(["vocab", "adapt", str(tmp_path / "model"), out, "--vocab", made, "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert (counts["size"], counts["kept"], counts["new"], counts["from_pieces"]) == (7, 6, 1, 1)
    # A vocabulary folder that was moved still finds its files.
    moved = (tmp_path / "made").rename(tmp_path / "moved")
    compared = ["vocab", "compare", str(tmp_path / "model"), str(moved), "--corpus", str(corpus)]
    assert main([*compared, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["sizes"], result["shared"], result["only"]) == ([14, 7], 6, [8, 1])
    characters, by_words = result["corpus"]
    assert characters["characters"] == 12
    assert characters["tokens_per_character"] == 1
    assert by_words["unknown_rate"] == pytest.approx(0.5)
    assert main(compared) == 0
    assert "6 tokens in both" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "0"], "--size 0: must be at least 1"),
        (["--megabytes", "0"], "--megabytes 0: must be above 0"),
        (["--special", "[MASK]"], "is already a special token"),
    ],
)
def test_an_invalid_option_exits_with_2_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("a a b b\n")
    made = tmp_path / "made"
    command = ["vocab", "train", str(corpus), "--type", "space", "--out", str(made), *options]
    assert main(command) == 2
    assert message in capsys.readouterr().err
    assert not made.exists()


def test_rows_of_maps_new_ids_to_old_ids(model: ModelSource, words: Path) -> None:
    found = rows_of(
        model.recipe().tokenizer.load(), find_tokenizer(str(words), ["type=space"]).load()
    )
    assert found.dtype == np.int64
    assert found.tolist() == [0, 1, 2, 3, 4, -1, 5, 12, -1, -1, 7]
