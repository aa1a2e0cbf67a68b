"""An ALBERT has the same logits here and in transformers, and every mistake would show."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    AlbertForPreTraining,
    AlbertModel,
    AutoModelForMaskedLM,
)

from ptm.errors import UserError
from ptm.interop.hf.export import export_to_huggingface
from ptm.interop.hf.folder import HuggingFaceFolder
from ptm.interop.source import open_source
from ptm.model.loaded import loaded_model
from ptm.text.tokenizers.wordpiece import WordPiece
from tests.support.bert_pairs import (
    TOLERANCE,
    Pair,
    Rows,
    difference,
    examples_of,
    hf_logits,
    hf_logits_alone,
    laid_out,
    make_pair,
    packed,
    plan_of,
    ptm_logits,
    random_weights,
    recipe_of,
    write_model,
)
from tests.support.other_pairs import (
    Weights,
    apart,
    imported,
    random_theirs,
    with_options,
    with_weights,
)

LAYERS, WIDTH, NARROW = 4, 64, 32


def blocks_of(
    vocab: Path,
    *,
    head: dict[str, bool] | None = None,
    embedding: dict[str, Any] | None = None,
    **changes: Any,
) -> Any:
    encoder = {
        "type": "transformer",
        "layers": LAYERS,
        "hidden_size": WIDTH,
        "heads": 2,
        "feed_forward_size": 128,
        "activation": "gelu_tanh",
        "shared_groups": 2,
        **changes,
    }
    parts = {"of": ["word", "position", "segment"], "size": NARROW, "positions": 128}
    return {
        "tokenizer": {"type": "wordpiece", "vocab": str(vocab)},
        "model": {"embedding": {**parts, **(embedding or {})}, "encoder": encoder},
        "objective": {"type": "mlm", "head": head or {}},
    }


CASES: dict[str, dict[str, Any]] = {
    "two-groups": {},
    "one-group": {"shared_groups": 1},
    "four-groups": {"shared_groups": 4},
    "unshared": {"shared_groups": None},
    "eager": {"attention": "eager"},
    "untied": {"head": {"tied": False}},
    "no-output-bias": {"head": {"bias": False}},
    "gelu-epsilon": {"activation": "gelu", "norm_epsilon": 1e-5},
    "as-wide": {"embedding": {"size": None}},
    "no-segment": {"embedding": {"of": ["word", "position"]}},
    "three-segments": {"embedding": {"segments": 3}},
}


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES.keys())
def each_pair(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    bundled_texts: list[str],
    small_vocab: Path,
) -> Pair:
    case = dict(request.param)
    attention = case.pop("attention", "sdpa")
    folder = tmp_path_factory.mktemp("pair")
    return make_pair(folder, blocks_of(small_vocab, **case), bundled_texts, attention=attention)


def test_an_export_has_the_same_logits_alone_padded_and_packed(each_pair: Pair) -> None:
    pair = each_pair
    assert isinstance(pair.theirs, AlbertForMaskedLM)
    for ids in pair.examples[:3]:
        alone = ptm_logits(pair.ours, laid_out([[ids]]))
        assert difference(alone, hf_logits_alone(pair.theirs, [ids])) <= TOLERANCE
    padded = laid_out([[ids] for ids in pair.examples])
    assert difference(ptm_logits(pair.ours, padded), hf_logits(pair.theirs, padded)) <= TOLERANCE
    assert apart(pair, pair.ours, packed(pair.examples, columns=128)) <= TOLERANCE


def test_an_export_misses_nothing_and_has_nothing_more(each_pair: Pair) -> None:
    _, info = AutoModelForMaskedLM.from_pretrained(each_pair.folder, output_loading_info=True)
    assert not any(info.values()), info


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, bundled_texts: list[str], small_vocab: Path
) -> Pair:
    return make_pair(tmp_path_factory.mktemp("pair"), blocks_of(small_vocab), bundled_texts)


@pytest.fixture(scope="module")
def rows(pair: Pair) -> Rows:
    return packed(pair.examples, columns=128)


def test_an_export_read_back_has_the_weights_it_was_made_from(pair: Pair) -> None:
    folder = HuggingFaceFolder(pair.folder)
    assert folder.family.name == "albert"
    back = folder.canonical()
    assert back.keys() == pair.weights.keys()
    for name, tensor in pair.weights.items():
        # The row of padding is not part of transformers' model; nothing real ever reads it.
        rows = slice(1, None) if name == "embedding.segment.weight" else slice(None)
        assert torch.equal(back[name][rows], tensor[rows]), name


def test_an_export_of_a_model_without_projection_is_read_back_without_one(
    tmp_path: Path, small_vocab: Path, bundled_texts: list[str]
) -> None:
    blocks = blocks_of(small_vocab, embedding={"size": None})
    made = make_pair(tmp_path, blocks, bundled_texts)
    assert HuggingFaceFolder(made.folder).canonical().keys() == made.weights.keys()


@pytest.mark.parametrize(
    ("block", "changes"),
    [
        ("encoder", {"activation": "gelu"}),
        ("encoder", {"norm_epsilon": 1e-5}),
        ("encoder", {"attention_scale": False}),
        ("encoder", {"window": 8}),
        ("encoder", {"heads": 4}),
        ("embedding", {"position_offset": 1}),
    ],
    ids=str,
)
def test_another_option_shows(pair: Pair, rows: Rows, block: str, changes: dict[str, Any]) -> None:
    assert apart(pair, with_options(pair, block), rows) <= TOLERANCE
    assert apart(pair, with_options(pair, block, **changes), rows) > 2 * TOLERANCE


def swapped_groups(weights: Weights) -> None:
    for name in [name for name in weights if name.startswith("encoder_group_00")]:
        other = name.replace("group_00", "group_01")
        weights[name], weights[other] = weights[other], weights[name]


def swapped_query_and_value(weights: Weights) -> None:
    query, key, value = weights["encoder_group_01.attention.qkv.weight"].chunk(3)
    weights["encoder_group_01.attention.qkv.weight"] = torch.cat((value, key, query))


def shifted_segments(weights: Weights) -> None:
    weights["embedding.segment.weight"] = weights["embedding.segment.weight"].roll(-1, dims=0)


def dropped(name: str) -> Callable[[Weights], None]:
    def drop(weights: Weights) -> None:
        weights[name].fill_(float(weights[name].mean()) if "norm.weight" in name else 0.0)

    drop.__name__ = name
    return drop


VECTORS = [
    *("embedding.norm.weight", "embedding.norm.bias", "embedding.projection.bias"),
    *("mlm_transform.norm.weight", "mlm_transform.dense.bias", "mlm_bias.bias"),
    *("encoder_group_00.attention_norm.weight", "encoder_group_01.feed_forward_norm.weight"),
    *("encoder_group_00.attention.output.bias", "encoder_group_01.feed_forward.up.bias"),
]


@pytest.mark.parametrize(
    "change",
    [swapped_groups, swapped_query_and_value, shifted_segments, *map(dropped, VECTORS)],
    ids=lambda change: change.__name__,
)
def test_wrong_weights_show(pair: Pair, rows: Rows, change: Callable[[Weights], None]) -> None:
    assert apart(pair, with_weights(pair, change), rows) > 2 * TOLERANCE


def theirs_of(vocab: Path, texts: list[str], **changes: Any) -> tuple[Any, list[Tensor]]:
    tokenizer = WordPiece(type="wordpiece", vocab=str(vocab)).load()
    examples = examples_of(tokenizer, texts, longest=48)
    sizes = {
        "embedding_size": 32,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "hidden_act": "gelu_new",
    }
    config = AlbertConfig(vocab_size=tokenizer.vocabulary.size, **{**sizes, **changes})
    model = AlbertForMaskedLM(config)
    return random_theirs(model, examples, head=model.predictions.LayerNorm), examples


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_hidden_groups": 2},
        {"num_hidden_groups": 4, "hidden_act": "gelu"},
        {"tie_word_embeddings": False},
        {"type_vocab_size": 1, "layer_norm_eps": 1e-6},
        {"type_vocab_size": 4, "max_position_embeddings": 50},
    ],
    ids=["plain", "groups", "unshared", "untied", "one-segment", "four-segments"],
)
def test_an_import_has_the_same_logits(
    tmp_path: Path, small_vocab: Path, bundled_texts: list[str], changes: dict[str, Any]
) -> None:
    theirs, examples = theirs_of(small_vocab, bundled_texts, **changes)
    ours, recipe = imported(theirs, small_vocab, tmp_path)
    logits = ptm_logits(ours, packed(examples, columns=128))
    assert difference(logits, hf_logits_alone(theirs, examples)) <= TOLERANCE
    assert recipe.model.encoder.model_dump()["shared_groups"] == changes.get("num_hidden_groups", 1)


def test_an_import_goes_back_to_transformers_unchanged(
    tmp_path: Path, small_vocab: Path, bundled_texts: list[str]
) -> None:
    theirs, _ = theirs_of(small_vocab, bundled_texts, num_hidden_groups=2)
    imported(theirs, small_vocab, tmp_path)
    source = open_source(str(tmp_path / "out"))
    export_to_huggingface(source, tmp_path / "back", weights_format="safetensors")
    back = AutoModelForMaskedLM.from_pretrained(tmp_path / "back").state_dict()
    assert all(torch.equal(back[name], tensor) for name, tensor in theirs.state_dict().items())


def test_an_encoder_without_its_prefix_is_imported_without_a_head(
    tmp_path: Path, small_vocab: Path, bundled_texts: list[str]
) -> None:
    theirs, _ = theirs_of(small_vocab, bundled_texts)
    bare = AlbertModel(theirs.config)
    bare.load_state_dict(theirs.albert.state_dict(), strict=False)
    bare.save_pretrained(tmp_path)
    back = HuggingFaceFolder(tmp_path).canonical()
    assert not any(name.startswith("mlm_") for name in back)
    mapping = theirs.albert.encoder.embedding_hidden_mapping_in
    assert torch.equal(back["embedding.projection.weight"], mapping.weight)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"inner_group_num": 2}, "inner_group_num = 2"),
        ({"num_hidden_groups": 1}, "num_hidden_groups = 1"),
        ({"hidden_act": "mish"}, "mish"),
        ({"embedding_size": WIDTH}, "identity"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_not_supported_is_refused(
    tmp_path: Path, pair: Pair, changes: dict[str, Any], sentence: str
) -> None:
    for file in pair.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **changes}))
    folder = HuggingFaceFolder(tmp_path)
    with pytest.raises(UserError, match=sentence):
        (folder.recipe_data(), folder.canonical())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"norm_position": "pre"}, "albert: its encoder is not a post-norm"),
        ({"embedding": {"of": ["word", "position", "task"]}}, "albert: its embedding is of"),
        ({"window": 8}, "albert: it has model.encoder.window = 8"),
        ({"residual_attention": True}, "albert: it has model.encoder.residual_attention"),
        ({"bias": False}, "albert: it has model.encoder.bias = False"),
        ({"embedding": {"position_offset": 2}}, "albert: it has model.embedding.position_offset"),
        ({"rotary": {"theta": 1000.0}}, "modernbert: it has model.encoder.feed_forward = dense"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_no_family_can_hold_is_not_exported(
    tmp_path: Path, small_vocab: Path, changes: dict[str, Any], reason: str
) -> None:
    blocks = blocks_of(small_vocab, **changes)
    source = write_model(tmp_path / "model", blocks, random_weights(plan_of(recipe_of(blocks))))
    with pytest.raises(UserError, match=reason):
        export_to_huggingface(source, tmp_path / "export", weights_format="safetensors")
    assert not (tmp_path / "export").exists()


def with_pair_positions(rows: Rows) -> Rows:
    """`rows` with the first token of every example for the pair head."""
    first = (rows.tensors["position_ids"] == 0) & (rows.tensors["example_ids"] > 0)
    tensors = {**rows.tensors, "pair_positions": first.flatten().nonzero().flatten()}
    return Rows(tensors, rows.examples)


def theirs_with_pairs(vocab: Path, texts: list[str]) -> tuple[Any, list[Tensor]]:
    """A random AlbertForPreTraining, whose logits for tokens are those of its masked one."""
    masked, examples = theirs_of(vocab, texts, num_hidden_groups=2)
    whole = AlbertForPreTraining(masked.config).eval()
    with torch.no_grad():
        for seed, parameter in enumerate(whole.parameters()):
            generator = torch.Generator().manual_seed(seed)
            parameter.normal_(0.0, 0.2, generator=generator)
    whole.load_state_dict(masked.state_dict(), strict=False)
    return whole, examples


@pytest.fixture
def pairs(
    tmp_path: Path, small_vocab: Path, bundled_texts: list[str]
) -> tuple[Any, list[Tensor], Path]:
    """An AlbertForPreTraining, examples for it, and what `ptm import` has made of it."""
    theirs, examples = theirs_with_pairs(small_vocab, bundled_texts)
    _, recipe = imported(theirs, small_vocab, tmp_path)
    assert recipe.objective.type == "albert"
    return theirs, examples, tmp_path / "out"


def pair_logits(folder: Path, rows: Rows, *, change: str = "") -> Tensor:
    """(P, 2) of the model in `folder`, one of its tensors turned around."""
    source = open_source(str(folder))
    weights = source.tensors()
    if change:
        weights[change] = weights[change].flip(0)
    model = loaded_model(plan_of(source.recipe()), weights, source="imported")
    with torch.no_grad():
        return model(rows.tensors)["pair_logits"]


def test_the_order_of_sentences_has_the_same_logits_there_here_and_back(
    pairs: tuple[Any, list[Tensor], Path], tmp_path: Path
) -> None:
    theirs, examples, folder = pairs
    rows = with_pair_positions(packed(examples, columns=128))
    with torch.no_grad():
        expected = torch.cat([theirs(ids[None]).sop_logits for ids in examples])
    assert difference(pair_logits(folder, rows), expected) <= TOLERANCE
    for part in ("pair_classifier.weight", "pair_classifier.bias", "pooler.dense.weight"):
        assert difference(pair_logits(folder, rows, change=part), expected) > 2 * TOLERANCE
    export_to_huggingface(open_source(str(folder)), tmp_path / "back", weights_format="safetensors")
    back, info = AlbertForPreTraining.from_pretrained(tmp_path / "back", output_loading_info=True)
    assert not any(info.values()), info
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name


def test_a_pooler_without_a_pair_head_is_left_out(
    tmp_path: Path, small_vocab: Path, bundled_texts: list[str]
) -> None:
    theirs, _ = theirs_with_pairs(small_vocab, bundled_texts)
    theirs.albert.save_pretrained(tmp_path)
    back = HuggingFaceFolder(tmp_path).canonical()
    assert not any(name.startswith(("pooler", "pair_classifier")) for name in back)
