"""Models have the published numbers of parameters."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    DistilBertConfig,
    DistilBertForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

from ptm.components.encoders.transformer import Transformer
from ptm.components.objectives.mlm import Mlm
from ptm.model.build import build_plan
from ptm.model.plain_model import meta_model, parameter_count
from ptm.recipe.model_block import ModelBlock
from tests.unit.model.counting import recipe_of

CHINESE = 21128

# Layers, width, heads, and millions of parameters of the published encoders with their poolers.
SIZES = {
    "tiny": (2, 128, 2, 3.18),
    "mini": (4, 256, 4, 8.77),
    "base": (12, 768, 12, 102.27),
    "large": (24, 1024, 16, 325.52),
    "giant": (36, 1024, 16, 476.68),
}
each_size = pytest.mark.parametrize(
    ("layers", "width", "heads", "millions"), SIZES.values(), ids=SIZES.keys()
)


def block_of(layers: int, width: int, heads: int) -> ModelBlock:
    return ModelBlock.model_validate(
        {
            "encoder": {
                "type": "transformer",
                "layers": layers,
                "hidden_size": width,
                "heads": heads,
                "feed_forward_size": 4 * width,
            }
        }
    )


def counted(block: ModelBlock, *, tied: bool = True) -> int:
    objective = Mlm.model_validate({"type": "mlm", "head": {"tied": tied}})
    return parameter_count(build_plan(block, objective, vocabulary_size=CHINESE))


@each_size
def test_chinese_models_have_the_published_number_of_parameters(
    layers: int, width: int, heads: int, millions: float
) -> None:
    ours = counted(block_of(layers, width, heads))
    head = (width * width + width) + 2 * width + CHINESE
    pooler = width * width + width
    segment_of_padding = width
    published = ours - head - segment_of_padding + pooler
    assert published / 1e6 == pytest.approx(millions, abs=0.005)


@each_size
def test_models_have_as_many_parameters_as_transformers(
    layers: int, width: int, heads: int, millions: float
) -> None:
    config = BertConfig(
        vocab_size=CHINESE,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
    )
    with torch.device("meta"):
        encoder, masked = BertModel(config), BertForMaskedLM(config)
    theirs = sum(parameter.numel() for parameter in masked.parameters())
    assert counted(block_of(layers, width, heads)) == theirs + width, "one more segment row"
    whole = sum(parameter.numel() for parameter in encoder.parameters())
    assert whole / 1e6 == pytest.approx(millions, abs=0.005)


def test_an_untied_head_has_one_more_matrix() -> None:
    block = block_of(2, 128, 2)
    assert counted(block, tied=False) - counted(block) == CHINESE * 128


def test_a_meta_model_has_names_and_shapes() -> None:
    objective = Mlm.model_validate({"type": "mlm"})
    model = meta_model(build_plan(block_of(36, 1024, 16), objective, vocabulary_size=CHINESE))
    assert all(parameter.is_meta for parameter in model.parameters())
    assert dict(model.named_parameters())["encoder_35.feed_forward.down.weight"].shape == (
        1024,
        4096,
    )


OTHER_SIZES = {"small": (4, 512, 8), "medium": (8, 512, 8), "xlarge": (36, 1536, 24)}
OF_EACH = {**{name: size[:3] for name, size in SIZES.items()}, **OTHER_SIZES}
MASKED = ("roberta", "bert-wwm", "spanbert")


@pytest.mark.parametrize(
    ("recipe", "size"),
    [
        *((f"{family}/{size}", size) for family in MASKED for size in OF_EACH),
        # Sun et al. 2019, section 4.2: "the same model size as BERT-base".
        ("ernie/base", "base"),
        ("realformer/base", "base"),
        ("roberta/base-wwm-ext", "base"),
    ],
)
def test_families_with_other_objectives_have_as_many_parameters_as_bert(
    recipe: str, size: str
) -> None:
    loaded = recipe_of(recipe)
    plan = build_plan(loaded.model, loaded.objective, vocabulary_size=CHINESE)
    assert parameter_count(plan) == counted(block_of(*OF_EACH[size]))


def test_the_base_student_has_as_many_parameters_as_distilbert() -> None:
    recipe = recipe_of("distilbert/base")
    config = DistilBertConfig()
    plan = build_plan(recipe.model, recipe.objective, vocabulary_size=config.vocab_size)
    with torch.device("meta"):
        theirs = DistilBertForMaskedLM(config)
    assert parameter_count(plan) == sum(p.numel() for p in theirs.parameters())
    # Sanh et al. 2019, table 3: 66 million.
    assert parameter_count(plan) / 1e6 == pytest.approx(66, abs=1.1)


@pytest.mark.parametrize(("size", "published"), [(name, SIZES[name][-1]) for name in SIZES])
def test_bert_recipes_have_the_published_number_of_parameters(size: str, published: float) -> None:
    recipe = recipe_of(f"bert/{size}")
    plan = build_plan(recipe.model, recipe.objective, vocabulary_size=CHINESE)
    counts = {
        name: sum(parameter.numel() for parameter in module.parameters())
        for name, module in meta_model(plan).named_children()
    }
    heads = {name for name in counts if name.startswith(("mlm_", "pair_"))}
    segment_of_padding = recipe.model.encoder.hidden_size
    encoder = sum(count for name, count in counts.items() if name not in heads)
    assert (encoder - segment_of_padding) / 1e6 == pytest.approx(published, abs=0.005)


@pytest.mark.parametrize(
    ("recipe", "theirs"),
    [
        ("roberta/base-bpe", "roberta-base"),
        ("xlm-roberta/base", "xlm-roberta-base"),
        ("xlm-roberta/large", "xlm-roberta-large"),
    ],
)
def test_recipes_with_other_vocabularies_have_as_many_parameters_as_transformers(
    recipe: str, theirs: str
) -> None:
    published = {"roberta-base": 124.7, "xlm-roberta-base": 278.3, "xlm-roberta-large": 560.1}
    loaded = recipe_of(recipe)
    assert loaded.tokenizer.size is not None
    ours = parameter_count(
        build_plan(loaded.model, loaded.objective, vocabulary_size=loaded.tokenizer.size)
    )
    encoder = loaded.model.encoder
    assert isinstance(encoder, Transformer)
    width = encoder.hidden_size
    kind = XLMRobertaConfig if "xlm" in theirs else RobertaConfig
    config = kind(
        vocab_size=loaded.tokenizer.size,
        hidden_size=width,
        num_hidden_layers=encoder.layers,
        num_attention_heads=width // 64,
        intermediate_size=4 * width,
        max_position_embeddings=514,
        type_vocab_size=1,
    )
    model = XLMRobertaForMaskedLM if "xlm" in theirs else RobertaForMaskedLM
    with torch.device("meta"):
        masked = model(config)
    assert ours == sum(p.numel() for p in masked.parameters()) + width, "one more segment row"
    assert ours / 1e6 == pytest.approx(published[theirs], abs=0.05)
