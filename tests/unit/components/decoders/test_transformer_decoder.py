"""Attention in an encoder-decoder: alone, packed and token by token."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ptm.components.decoders.transformer import TransformerDecoder
from ptm.components.embeddings import EmbeddingConfig, TargetEmbeddingConfig
from ptm.components.encoders.transformer import Transformer
from ptm.components.objectives.lm import Lm
from ptm.components.transformer_stack import PositionBias
from ptm.model.build import build_plan
from ptm.model.plain_model import PlainModel
from ptm.nn.key_value_cache import use_cache
from ptm.recipe.model_block import ModelBlock

WORDS = 60
SIZES: dict[str, Any] = {"hidden_size": 32, "layers": 2, "heads": 4, "feed_forward_size": 48}
T5: dict[str, Any] = {
    "norm": "rms",
    "norm_position": "pre",
    "bias": False,
    "attention_scale": False,
    "head_size": 16,
    "position_bias": PositionBias(buckets=8, max_distance=16),
}


def block_of(options: dict[str, Any], *, parts: tuple[str, ...], shared: bool = True) -> ModelBlock:
    return ModelBlock(
        embedding=EmbeddingConfig(parts=parts),
        encoder=Transformer(type="transformer", **SIZES, **options),
        target_embedding=TargetEmbeddingConfig(parts=parts, shared=shared),
        decoder=TransformerDecoder(type="transformer", **SIZES, **options),
    )


def random_model(block: ModelBlock, *, target_words: int = WORDS) -> PlainModel:
    torch.manual_seed(0)
    plan = build_plan(
        block,
        Lm(type="lm"),
        vocabulary_size=WORDS,
        target_vocabulary_size=target_words,
        outputs=("logits",),
    )
    model = PlainModel(plan).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture(params=["bart", "t5"])
def model(request: pytest.FixtureRequest) -> PlainModel:
    if request.param == "bart":
        return random_model(block_of({}, parts=("word", "position", "segment")))
    return random_model(block_of(T5, parts=("word",)))


def side(examples: list[list[int]], columns: int, prefix: str = "") -> dict[str, Tensor]:
    """Examples packed into one row."""
    ids = [token for example in examples for token in example]
    places = [place for example in examples for place in range(len(example))]
    numbers = [n for n, example in enumerate(examples, 1) for _ in example]
    rest = columns - len(ids)
    values = {
        "input_ids": ids,
        "position_ids": places,
        "segment_ids": [1] * len(ids),
        "example_ids": numbers,
    }
    return {f"{prefix}{k}": torch.tensor([v + [0] * rest]) for k, v in values.items()}


def tensors_of(sources: list[list[int]], targets: list[list[int]]) -> dict[str, Tensor]:
    return side(sources, 20) | side(targets, 16, "decoder_")


SOURCES = [[5, 6, 7, 8, 9], [10, 11], [12, 13, 14, 15, 16, 17]]
TARGETS = [[20, 21, 22], [23, 24, 25, 26, 27], [28, 29]]


def test_packed_examples_have_the_same_logits_as_alone(model: PlainModel) -> None:
    with torch.no_grad():
        packed = model(tensors_of(SOURCES, TARGETS))["logits"][0]
        begin = 0
        for source, target in zip(SOURCES, TARGETS, strict=True):
            alone = model(tensors_of([source], [target]))["logits"][0, : len(target)]
            found = packed[begin : begin + len(target)]
            torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-4)
            begin += len(target)
    assert packed.isfinite().all(), "padding too"


def moved(model: PlainModel, name: str, place: int) -> list[bool]:
    """Whether each output changes with the token at `place` of `name`."""
    before = tensors_of(SOURCES, TARGETS)
    after = {key: tensor.clone() for key, tensor in before.items()}
    after[name][0, place] += 1
    with torch.no_grad():
        difference = (model(before)["logits"] - model(after)["logits"])[0].abs().amax(dim=-1)
    return (difference > 1e-5).tolist()


def test_a_target_token_affects_only_later_tokens_of_its_example(
    model: PlainModel,
) -> None:
    found = moved(model, "decoder_input_ids", 5)
    assert found == [place in (5, 6, 7) for place in range(16)]


def test_a_source_token_affects_all_of_its_own_target_only(model: PlainModel) -> None:
    found = moved(model, "input_ids", 6)
    assert found == [place in range(3, 8) for place in range(16)]


def test_decoding_token_by_token_equals_one_call(model: PlainModel) -> None:
    tensors = tensors_of([SOURCES[0]], [TARGETS[1]])
    decoder = {name for name in tensors if name.startswith("decoder_")}
    with torch.no_grad():
        whole = model(tensors)["logits"][:, :5]
        with use_cache(model):
            # The encoder would cache too, so only the decoder's part of the plan is called again.
            found = []
            memory = random_memory(model, tensors)
            for place in range(5):
                here = {
                    k: v[:, place : place + 1] if k in decoder else v for k, v in memory.items()
                }
                found.append(decoder_logits(model, here))
    torch.testing.assert_close(torch.cat(found, dim=1), whole, rtol=1e-4, atol=1e-4)


def random_memory(model: PlainModel, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    memory = model.run(model.plan.only("memory"), tensors)["memory"]
    return tensors | {"memory": memory}


def decoder_logits(model: PlainModel, tensors: dict[str, Tensor]) -> Tensor:
    return model.run(model.plan.after("memory"), tensors)["logits"]


def test_source_and_target_share_a_word_table_or_have_two() -> None:
    shared = random_model(block_of({}, parts=("word",)))
    apart = random_model(block_of({}, parts=("word",), shared=False), target_words=33)
    tables = [name for name, _ in shared.named_parameters() if "word_embedding" in name]
    assert tables == ["word_embedding.weight"]
    sizes = {n: tuple(p.shape) for n, p in apart.named_parameters() if "word_embedding" in n}
    assert sizes == {"word_embedding.weight": (60, 32), "target_word_embedding.weight": (33, 32)}
    with torch.no_grad():
        assert apart(tensors_of(SOURCES, TARGETS))["logits"].shape == (1, 16, 33)
