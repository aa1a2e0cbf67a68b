"""Fine-tuned models of transformers: imported with their head, and used by the other commands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import processors
from transformers import BertConfig, BertForSequenceClassification, BertForTokenClassification

from ptm.cli import main
from ptm.errors import EXIT_DONE
from ptm.interop.import_model import Imported, import_from_huggingface
from ptm.interop.sources.open import open_source
from ptm.recipe import ModelRecipe
from ptm.runs.evaluate import evaluate_source
from ptm.store.preprocess import Preprocessing, preprocess
from ptm.text.corpus import find_corpus
from tests.support.bert_pairs import TINY
from tests.support.classifiers import run_command
from tests.support.vocabularies import bundled_files, config_of

Capture = pytest.CaptureFixture[str]
LABELS = {0: "negative", 1: "positive"}


def saved(
    folder: Path, vocab: Path, kind: Any = BertForSequenceClassification, **config: Any
) -> Any:
    """A random model of transformers, saved in `folder` with a vocabulary."""
    words = vocab.read_text(encoding="utf-8").splitlines()
    torch.manual_seed(1)
    model = kind(
        BertConfig(
            vocab_size=len(words),
            hidden_size=TINY.width,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
            initializer_range=0.3,
            **config,
        )
    ).eval()
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    return model


def imported(folder: Path) -> tuple[ModelRecipe, Imported]:
    report = import_from_huggingface(str(folder / "theirs"), folder / "ours")
    return open_source(str(folder / "ours")).recipe(), report


def change(folder: Path, changes: Mapping[str, Any]) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_classifier_predicts_and_is_evaluated_as_in_transformers(
    tmp_path: Path, small_vocab: Path, capsys: Capture
) -> None:
    model = saved(tmp_path / "theirs", small_vocab, id2label=LABELS)
    recipe, report = imported(tmp_path)
    assert report.left_out == ()
    assert recipe.objective.model_dump()["labels"] == ("negative", "positive")
    texts = ["今天天气很好", "a text", "好"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    with torch.no_grad():
        expected = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits.softmax(-1)
    (tmp_path / "texts.tsv").write_text("".join(f"negative\t{text}\n" for text in texts))
    for source in ("theirs", "ours"):
        words = ["predict", str(tmp_path / source), str(tmp_path / "texts.tsv")]
        code, lines, _ = run_command([*words, "--format", "json_lines"], capsys)
        assert code == EXIT_DONE
        for line, row in zip(lines, expected.tolist(), strict=True):
            found = json.loads(line)["probabilities"]
            assert found == pytest.approx(dict(zip(LABELS.values(), row, strict=True)), abs=1e-5)
    work = Preprocessing(
        corpus=find_corpus([str(tmp_path / "texts.tsv")]),
        layout="labelled",
        tokenizer=recipe.tokenizer,
        segmenter=None,
        labels=recipe.objective.label_set,
    )
    preprocess(work, tmp_path / "store", workers=1, fresh=False, report=lambda _: None)
    found = evaluate_source(
        open_source(str(tmp_path / "ours")),
        [
            f"data.evaluation.test.corpus={tmp_path / 'texts.tsv'}",
            f"data.evaluation.test.store={tmp_path / 'store'}",
            f"data.store={tmp_path / 'unused'}",
            "data.held_out=0",
        ],
    )
    assert found["test/loss"] == pytest.approx(-float(expected[:, 0].log().mean()), abs=1e-4)


@pytest.mark.parametrize(
    ("config", "block"),
    [
        ({"num_labels": 1}, {"type": "regression"}),
        ({"num_labels": 1, "problem_type": "regression"}, {"type": "regression"}),
        ({"num_labels": 3}, {"type": "classification", "labels": 3}),
        ({"id2label": {0: "0", 1: "1"}}, {"type": "classification", "labels": 2}),
    ],
)
def test_labels_are_those_of_the_config(
    tmp_path: Path, small_vocab: Path, config: Any, block: Mapping[str, Any]
) -> None:
    saved(tmp_path / "theirs", small_vocab, **config)
    recipe, _ = imported(tmp_path)
    found = recipe.objective.model_dump()
    assert {key: found[key] for key in block} == block


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        (["O", "B-PER", "I-PER"], "bio"),
        (["B-PER", "I-PER", "E-PER", "S-PER", "O"], "bioes"),
        (["NOUN", "VERB"], "plain"),
    ],
)
def test_tags_have_the_scheme_of_their_names(
    tmp_path: Path, small_vocab: Path, tags: list[str], scheme: str
) -> None:
    labels = dict(enumerate(tags))
    saved(tmp_path / "theirs", small_vocab, BertForTokenClassification, id2label=labels)
    found = imported(tmp_path)[0].objective.model_dump()
    assert (found["type"], found["labels"], found["scheme"]) == ("tagging", tuple(tags), scheme)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"id2label": {"0": "a", "1": "a"}}, '"a" is listed twice'),
        ({"id2label": {"0": "a", "1": "b", "2": "c"}}, "has 3 labels, but the output layer has 2"),
        ({"id2label": {"1": "a", "2": "b"}}, "are not the numbers from 0 on"),
        ({"id2label": ["a", "b"]}, "id2label is not an object"),
        ({"problem_type": "regression"}, "the head predicts 2 numbers"),
    ],
)
def test_a_head_that_no_objective_has_is_left_out_with_the_reason(
    tmp_path: Path, small_vocab: Path, changes: Mapping[str, Any], reason: str
) -> None:
    saved(tmp_path / "theirs", small_vocab)
    change(tmp_path / "theirs", changes)
    recipe, report = imported(tmp_path)
    assert recipe.objective.type == "mlm"
    assert "classifier.weight" in report.left_out
    assert any("was left out" in note and reason in note for note in report.notes), report.notes


def test_a_model_without_the_tensors_of_its_head_is_an_encoder(
    tmp_path: Path, small_vocab: Path
) -> None:
    saved(tmp_path / "theirs", small_vocab, transformers.BertModel)
    change(tmp_path / "theirs", {"architectures": ["BertForSequenceClassification"]})
    assert imported(tmp_path)[0].objective.type == "mlm"


def byte_level_pipeline(folder: Path, processor: Any) -> tuple[int, dict[str, str]]:
    """A byte-level BPE in `folder` with RoBERTa's names of special tokens; returns its size."""
    trained = bundled_files("bpe")
    block = config_of(trained, folder / "bpe")
    backend = block.backend(block.read())
    backend.post_processor = processor(backend)
    backend.save(str(folder / "tokenizer.json"))
    names = {"bos": "<s>", "eos": "</s>", "unk": "<unk>", "pad": "<pad>", "mask": "<mask>"}
    named = {f"{role}_token": token for role, token in names.items()}
    settings = {**named, "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return backend.get_vocab_size(), named


def of_roberta(backend: Any) -> Any:
    sep, cls = ((token, backend.token_to_id(token)) for token in ("</s>", "<s>"))
    return processors.RobertaProcessing(sep, cls, add_prefix_space=False)


def of_gpt2(backend: Any) -> Any:
    return processors.ByteLevel(trim_offsets=False)


@pytest.mark.parametrize(
    ("kind", "processor", "template"),
    [
        ("roberta", of_roberta, {"start": True, "separators": 2, "end": True}),
        ("gpt2", of_gpt2, {"start": False, "separators": 0, "end": False}),
    ],
)
def test_texts_have_the_special_tokens_of_the_folders_tokenizer(
    tmp_path: Path, capsys: Capture, kind: str, processor: Any, template: Mapping[str, Any]
) -> None:
    (tmp_path / "theirs").mkdir()
    size, _ = byte_level_pipeline(tmp_path / "theirs", processor)
    ids = json.loads((tmp_path / "theirs" / "tokenizer.json").read_text())["model"]["vocab"]
    named = {"pad_token_id": ids["<pad>"], "eos_token_id": ids["</s>"], "bos_token_id": ids["<s>"]}
    torch.manual_seed(0)
    if kind == "roberta":
        config: Any = transformers.RobertaConfig(
            **named,
            vocab_size=size,
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=80 + ids["<pad>"] + 1,
            type_vocab_size=1,
            initializer_range=0.3,
            num_labels=3,
        )
        model: Any = transformers.RobertaForSequenceClassification(config).eval()
    else:
        config = transformers.GPT2Config(
            **named,
            vocab_size=size,
            n_embd=32,
            n_layer=1,
            n_head=2,
            n_positions=80,
            initializer_range=0.3,
            num_labels=3,
        )
        model = transformers.GPT2ForSequenceClassification(config).eval()
    model.save_pretrained(tmp_path / "theirs")
    recipe, report = imported(tmp_path)
    assert recipe.objective.model_dump()["template"] == template
    assert not any("special tokens" in note for note in report.notes)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    pairs = [("a text", "a longer one"), ("the river", "walks"), ("x", "of the night")]
    (tmp_path / "pairs.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in pairs))
    (tmp_path / "texts.tsv").write_text("".join(f"{a}\n" for a, _ in pairs))
    columns = {"pairs": [list(one) for one in zip(*pairs, strict=True)]}
    columns["texts"] = columns["pairs"][:1]
    # Also an export has the special tokens.
    assert main(["export", str(tmp_path / "ours"), str(tmp_path / "out"), "--to", "hf"]) == 0
    exported = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    for name, parts in columns.items():
        inputs = tokenizer(*parts, padding=True, return_tensors="pt")
        assert exported(*parts)["input_ids"] == tokenizer(*parts)["input_ids"]
        with torch.no_grad():
            inputs.pop("token_type_ids", None)
            expected = model(**inputs).logits.softmax(-1)
        words = ["predict", str(tmp_path / "ours"), str(tmp_path / f"{name}.tsv")]
        code, lines, _ = run_command([*words, "--format", "json_lines"], capsys)
        assert code == EXIT_DONE
        found = [list(json.loads(line)["probabilities"].values()) for line in lines]
        torch.testing.assert_close(torch.tensor(found), expected, atol=1e-5, rtol=0)
