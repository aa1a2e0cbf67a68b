from __future__ import annotations

from collections.abc import Callable

import pytest

from ptm.recipe import Recipe

Load = Callable[..., Recipe]
Changed = Callable[[str, str], str]
ErrorOf = Callable[..., str]


def test_both_steps_and_epochs_are_rejected(error_of: ErrorOf, changed: Changed) -> None:
    sentence = error_of(text=changed("steps: 100", "steps: 100\n  epochs: 2"))
    assert "recipe.yaml:24: train: set exactly one of steps and epochs; both are set." in sentence
    assert "train.epochs=null keeps steps = 100" in sentence


def test_a_rule_of_a_block_names_the_override_of_its_fields(
    error_of: ErrorOf, changed: Changed
) -> None:
    overrides = ("train.steps=6", "train.wall_time_hours=null")
    sentence = error_of(*overrides, text=changed("steps: 100", "epochs: 3"))
    assert '"train.steps=6": train: set exactly one of steps and epochs' in sentence


def test_a_recipe_without_steps_and_epochs_is_rejected(error_of: ErrorOf, changed: Changed) -> None:
    sentence = error_of(text=changed("  steps: 100\n", ""))
    assert "recipe.yaml:24: train: set exactly one of steps and epochs; neither is" in sentence


def test_epochs_alone_are_enough(load: Load, changed: Changed) -> None:
    assert load(text=changed("steps: 100", "epochs: 2.5")).train.epochs == 2.5


def test_a_sequence_longer_than_the_positions_is_rejected_with_both_lengths(
    error_of: ErrorOf, changed: Changed
) -> None:
    sentence = error_of(text=changed("sequence_length: 128", "sequence_length: 513"))
    assert "recipe.yaml:8: data.sequence_length: 513 is longer than" in sentence
    assert "model.embedding.positions = 512" in sentence


def test_a_sequence_as_long_as_the_positions_is_valid(load: Load) -> None:
    assert load("data.sequence_length=512").data.sequence_length == 512


def test_the_position_offset_reduces_the_longest_sequence(load: Load, error_of: ErrorOf) -> None:
    table = ("model.embedding.positions=130", "model.embedding.position_offset=2")
    assert load("data.sequence_length=128", *table).data.sequence_length == 128
    sentence = error_of("data.sequence_length=129", *table)
    assert (
        "129 is longer than model.embedding.positions = 130 minus position_offset = 2." in sentence
    )


def test_fewer_segments_than_those_of_an_example_are_rejected(
    load: Load, error_of: ErrorOf
) -> None:
    assert load("model.embedding.segments=1").model.embedding.segments == 1
    pairs = ("objective={type: albert}", "data.layout=sentences")
    assert load(*pairs).objective.segments == 2
    sentence = error_of("model.embedding.segments=1", *pairs)
    assert "model.embedding.segments: 1 is less than the 2 segments of an example" in sentence
    assert "objective.type = albert" in sentence


def test_sinusoidal_positions_do_not_limit_the_sequence_length(load: Load) -> None:
    recipe = load("data.sequence_length=4096", "model.embedding.parts=[word, sinusoidal]")
    assert recipe.data.sequence_length == 4096


@pytest.mark.parametrize(
    "masking", ["{unit: whole_word}", "{unit: span, whole_words: true}"], ids=["words", "spans"]
)
def test_whole_words_without_a_segmenter_are_rejected(error_of: ErrorOf, masking: str) -> None:
    sentence = error_of(f"objective.masking={masking}")
    assert "which needs data.segmenter. Set data.segmenter: {type: jieba}" in sentence


def test_whole_words_with_a_segmenter_are_valid(load: Load) -> None:
    recipe = load("objective.masking={unit: whole_word}", "data.segmenter.type=jieba")
    assert recipe.objective.needs_word_starts


def test_a_dictionary_for_a_segmenter_without_dictionaries_is_rejected(error_of: ErrorOf) -> None:
    sentence = error_of("data.segmenter={type: space, dictionary: words.txt}")
    assert "data.segmenter: type: space supports no user dictionary" in sentence


def test_an_empty_list_of_corpus_files_is_rejected(error_of: ErrorOf) -> None:
    assert "data.corpus: is an empty list. Give at least one file." in error_of("data.corpus=[]")


@pytest.mark.parametrize("warmup", ["100", "200", "0.999"])
def test_a_warm_up_as_long_as_the_training_is_rejected(error_of: ErrorOf, warmup: str) -> None:
    assert "schedule.warmup: " in error_of(f"schedule.warmup={warmup}")


@pytest.mark.parametrize(("warmup", "steps"), [("0", 0), ("0.1", 10), ("1", 1), ("99", 99)])
def test_a_warm_up_below_one_is_a_share_of_the_steps(load: Load, warmup: str, steps: int) -> None:
    assert load(f"schedule.warmup={warmup}").schedule.warmup_steps(100) == steps


def test_a_fractional_number_of_warm_up_steps_is_rejected(error_of: ErrorOf) -> None:
    assert "1.5 is neither a share" in error_of("schedule.warmup=1.5")


def test_a_decay_that_overlaps_the_warm_up_is_rejected(load: Load, error_of: ErrorOf) -> None:
    block = "schedule={{type: wsd, warmup: 0.25, decay: {}}}"
    assert load(block.format(75)).schedule.decay_steps(100) == 75
    sentence = error_of(block.format(76))
    assert "schedule.decay: 76 steps of decay and 25 of warm-up are more than" in sentence


@pytest.mark.parametrize(
    "block",
    [
        "{type: adafactor}",
        *(f"{{type: {name}, learning_rate: 1e-3}}" for name in ("lamb", "muon", "stable_adamw")),
    ],
)
def test_an_optimizer_that_needs_whole_matrices_is_rejected_with_pipeline_stages(
    error_of: ErrorOf, block: str
) -> None:
    sentence = error_of(f"optimizer={block}", "engine.pipeline_stages=2")
    assert "engine.pipeline_stages: 2 stages run with ZeRO 1" in sentence
    assert "Set engine.pipeline_stages: 1 and engine.deepspeed: zero0" in sentence


def test_early_stopping_without_an_evaluation_set_is_rejected(error_of: ErrorOf) -> None:
    sentence = error_of("train.early_stopping={patience: 2}", "data.held_out=0")
    assert (
        "train.early_stopping: needs an evaluation set. Set data.held_out above 0, or" in sentence
    )


def test_early_stopping_on_an_unknown_metric_is_rejected(error_of: ErrorOf) -> None:
    sentence = error_of("train.early_stopping.metric=nsp_accuracy")
    assert 'train.early_stopping.metric: "nsp_accuracy" is not a metric of this recipe.' in sentence
    assert "Choose one of: loss, mlm_accuracy" in sentence


@pytest.mark.parametrize("kind", ["bert", "albert"])
def test_sentence_objectives_need_sentence_splitting_of_documents(
    error_of: ErrorOf, kind: str
) -> None:
    sentence = error_of(f"objective={{type: {kind}}}")
    assert f"data.sentence_splitting: is false, but objective.type = {kind}" in sentence


@pytest.mark.parametrize("kind", ["bert", "albert"])
def test_sentence_objectives_support_sentences_and_split_documents(load: Load, kind: str) -> None:
    objective = f"objective={{type: {kind}}}"
    assert load(objective, "data.layout=sentences").objective.type == kind
    assert load(objective, "data.sentence_splitting=true").objective.type == kind


def test_sentence_splitting_of_the_layout_sentences_is_rejected(error_of: ErrorOf) -> None:
    sentence = error_of("data.layout=sentences", "data.sentence_splitting=true")
    assert "data.sentence_splitting: is used only with data.layout = documents, but the" in sentence
    assert "the layout is sentences. Remove it." in sentence


def test_mlm_supports_split_documents(load: Load) -> None:
    assert load("data.sentence_splitting=true").objective.type == "mlm"


def test_rows_too_short_for_a_pair_are_rejected(error_of: ErrorOf) -> None:
    overrides = ("objective={type: bert}", "data.layout=sentences", "data.sequence_length=4")
    assert (
        "data.sequence_length: 4 is too short for objective.type = bert. Set 5 or more"
        in error_of(*overrides)
    )


def test_a_target_tokenizer_without_the_layout_pairs_is_rejected(error_of: ErrorOf) -> None:
    sentence = error_of("target_tokenizer={type: wordpiece, vocab: other.txt}")
    assert "target_tokenizer: is used only with data.layout = pairs" in sentence


def test_a_segmenter_with_the_layout_pairs_is_rejected(error_of: ErrorOf) -> None:
    sentence = error_of("data.layout=pairs", "data.segmenter.type=rjieba")
    assert "data.segmenter: is used only to mask whole words, but no objective with" in sentence


TRANSLATION = (
    "objective={type: seq2seq}",
    "data.layout=pairs",
    "model.decoder={type: transformer, layers: 1, hidden_size: 16, heads: 2,"
    " feed_forward_size: 32}",
)


def test_a_shared_embedding_of_two_vocabularies_is_rejected(load: Load, error_of: ErrorOf) -> None:
    two = (*TRANSLATION, "target_tokenizer={type: wordpiece, vocab: other.txt}")
    sentence = error_of(*two)
    assert "model.target_embedding: shares the word vectors of model.embedding" in sentence
    assert load(*two, "model.target_embedding.shared=false").target_tokenizer is not None


def test_a_target_tokenizer_for_source_and_target_in_one_text_is_rejected(
    error_of: ErrorOf,
) -> None:
    sentence = error_of(
        "objective={type: prefixlm}",
        "data.layout=pairs",
        "model.encoder.visibility=prefix",
        "target_tokenizer={type: wordpiece, vocab: other.txt}",
    )
    assert (
        "target_tokenizer: cannot be used with objective.type = prefixlm, which reads source and "
        "target as one text" in sentence
    )


def test_a_target_longer_than_its_positions_is_rejected(load: Load, error_of: ErrorOf) -> None:
    assert load(*TRANSLATION, "data.target_sequence_length=512").data.row_size.target == 512
    sentence = error_of(*TRANSLATION, "data.target_sequence_length=513")
    assert (
        "data.target_sequence_length: 513 is longer than model.embedding.positions = " in sentence
    )
    sentence = error_of(*TRANSLATION, "model.target_embedding.positions=100")
    assert "data.sequence_length: 128 is longer than model.target_embedding.positions" in sentence


def test_a_target_length_without_a_decoder_is_rejected(error_of: ErrorOf) -> None:
    sentence = error_of("data.target_sequence_length=64")
    assert "data.target_sequence_length: is used only with a decoder" in sentence
