"""What is suggested for keys and values of other tools."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ptm.recipe.keys import recipe_keys
from ptm.recipe.names_of_others import SAME_MEANING, VALUES, WITHOUT_A_KEY
from ptm.recipe.suggestions import key_hint

ErrorOf = Callable[..., str]

# (override, part of the suggestion)
KEYS = [
    ("lr=1e-4", '"optimizer.learning_rate"'),
    ("optimizer.lr=1e-4", '"learning_rate"'),
    ("train.learning_rate=1e-4", '"optimizer.learning_rate"'),
    ("optimizer.betas=[0.9, 0.98]", "optimizer.beta1 and optimizer.beta2"),
    ("optimizer.adam_epsilon=1e-6", '"epsilon"'),
    ("weight_decay=0.1", '"optimizer.weight_decay"'),
    ("lr_scheduler_type=cosine", '"schedule.type"'),
    ("train.warmup_steps=100", '"schedule.warmup"'),
    ("schedule.warmup_ratio=0.1", '"warmup"'),
    ("warmup=0.1", '"schedule.warmup"'),
    ("schedule.min_lr=1e-5", '"schedule.floor" has this meaning, but not with the types chosen'),
    ("train.seed=1", 'Did you mean the top-level key "seed"?'),
    ("tokenizer.model=x.model", "Keys of this block: "),
    ("train.report_every=5", '"tracking.log_every"'),
    ("model.embedding.SEGMENTS=2", '"segments"'),
    ("train.batch_size=32", '"global_batch_size"'),
    ("per_device_train_batch_size=8", '"train.micro_batch_size"'),
    ("train.train_micro_batch_size_per_gpu=8", '"micro_batch_size"'),
    ("train.gradient_accumulation_steps=4", "Gradient accumulation is derived"),
    ("train.max_grad_norm=1.0", '"gradient_clipping"'),
    ("num_train_epochs=3", '"train.epochs"'),
    ("train.max_steps=100", '"steps"'),
    ("early_stopping_patience=3", '"train.early_stopping.patience"'),
    ("fp16=true", '"engine.precision"'),
    ("train.bf16=true", '"engine.precision"'),
    ("dtype=bfloat16", '"engine.precision"'),
    ("engine.zero_stage=3", '"deepspeed"'),
    ("train.gradient_checkpointing=true", '"engine.activation_checkpointing"'),
    ("engine.tensor_parallel_size=2", "Tensor parallelism is not supported"),
    ("engine.pipeline_parallel_size=2", '"pipeline_stages"'),
    ("model.attn_implementation=sdpa", '"engine.attention"'),
    ("torch_compile=true", "torch.compile is not supported"),
    ("world_size=8", "The launcher sets the number of ranks"),
    ("save_steps=1000", '"checkpoint.every"'),
    ("checkpoint.save_total_limit=3", '"keep"'),
    ("checkpoint.evry=10", '"every"'),
    ("logging_steps=10", '"tracking.log_every"'),
    ("tracking.eval_steps=10", '"evaluate_every"'),
    ("report_to=wandb", "tracking.wandb: {project: NAME}"),
    ("output_dir=out", '"runs_dir"'),
    ("run_name=x", '"name"'),
    ("resume_from_checkpoint=true", "is continued"),
    ("model_name_or_path=bert-base-chinese", '"init_from"'),
    ("model.encoder.hidden_act=gelu", '"activation"'),
    ("model.encoder.intermediate_size=64", '"feed_forward_size"'),
    ("model.encoder.num_attention_heads=2", '"heads"'),
    ("model.encoder.num_hidden_layers=2", '"layers"'),
    ("model.num_hidden_layers=2", '"model.encoder.layers"'),
    ("model.hidden_size=64", '"model.encoder.hidden_size"'),
    ("model.encoder.mask=causal", '"visibility"'),
    ("model.encoder.dropout=0.1", '"model.dropout"'),
    ("model.encoder.layer_norm_eps=1e-5", '"norm_epsilon"'),
    ("model.encoder.rope_theta=10000", '"model.encoder.rotary.theta"'),
    ("model.max_position_embeddings=512", '"model.embedding.positions"'),
    ("model.embedding.type_vocab_size=2", '"segments"'),
    ("model.initializer_range=0.02", '"model.init.std"'),
    ("tokenizer.vocab_size=21128", '"size"'),
    ("tokenizer.do_lower_case=true", '"lowercase"'),
    ("vocab_path=vocab.txt", '"tokenizer.vocab"'),
    ("objective.mlm_probability=0.15", '"objective.masking.rate"'),
    ("objective.masking.max_predictions_per_seq=20", '"max_predictions"'),
    ("objective.whole_word_masking=true", '"objective.masking.unit"'),
    ("objective.tie_word_embeddings=true", '"objective.head.tied"'),
    ("data.max_seq_length=128", '"sequence_length"'),
    ("data.train_file=a.txt", '"corpus"'),
    ("data.validation_split_percentage=1", '"held_out"'),
    ("data.num_workers=4", '"workers"'),
    ("data.shuffle=true", "Rows are always shuffled"),
    ("seeed=1", '"seed"'),
    ("data.sequence_lenght=128", '"sequence_length"'),
]


@pytest.mark.parametrize(("override", "expected"), KEYS, ids=[key for key, _ in KEYS])
def test_a_key_of_another_tool_suggests_the_right_one(
    error_of: ErrorOf, override: str, expected: str
) -> None:
    sentence = error_of(override)
    assert f"{override.split('=')[0]}: unknown key." in sentence
    assert expected in sentence


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("tokenizer.type=bert", "The nearest is wordpiece."),
        ("tokenizer.type=xlmroberta", "The nearest is sentencepiece, with ids: fairseq."),
        ("objective.type=clm", "The nearest is lm."),
        ("objective.type=pegasus", "The nearest is gsg."),
        ("objective.masking.unit=wwm", "The nearest is whole_word."),
        ("optimizer.type=adam", "The nearest is adamw."),
        ("optimizer.type=lion_32bit", "The nearest is lion."),
        ("optimizer.type=FusedLAMB", "The nearest is lamb."),
        ("optimizer.type=adamw_stable", "The nearest is stable_adamw."),
        ("optimizer.type=MuonWithAuxAdam", "The nearest is muon."),
        ("schedule.type=cosine_with_restarts", "The nearest is cosine."),
        ("engine.precision=float16", "The nearest is fp16."),
        ("model.encoder.type=bert", "The nearest is transformer."),
        ("model.encoder.activation=gelu_new", "The nearest is gelu_tanh."),
        ("model.encoder.norm=rmsnorm", "The nearest is rms."),
        ("engine.precision=fp17", 'Did you mean "fp16"?'),
        ("engine.attention=xyz", "Choose one of: auto, flex, sdpa, varlen."),
    ],
)
def test_a_value_of_another_tool_suggests_the_nearest_one(
    error_of: ErrorOf, override: str, expected: str
) -> None:
    key, value = override.split("=")
    sentence = error_of(override)
    assert f'{key}: "{value}" is not supported. {expected}' in sentence


@pytest.mark.parametrize(
    ("override", "path"),
    [
        ("init_from={source: runs/m, layer: [1]}", "init_from.layer"),
        ("tokenizer.special_tokens={bos: 5}", "tokenizer.special_tokens.bos"),
        ("data.corpus=[1]", "data.corpus.0"),
    ],
)
def test_the_path_of_an_error_holds_no_type_names(
    error_of: ErrorOf, override: str, path: str
) -> None:
    for sentence in error_of(override).splitlines():
        assert f": {path}: " in sentence


def test_letters_alone_suggest_nothing() -> None:
    assert key_hint(("model", "encoder", "xyz"), ("bias", "heads")) == (
        " Keys of this block: bias, heads."
    )


def test_every_suggested_key_exists() -> None:
    assert set(SAME_MEANING) <= recipe_keys().keys()
    assert set(VALUES) <= recipe_keys().keys()


def test_a_name_of_another_tool_has_one_meaning() -> None:
    names = [
        name for table in (SAME_MEANING, WITHOUT_A_KEY) for some in table.values() for name in some
    ]
    assert sorted(set(names)) == sorted(names)
