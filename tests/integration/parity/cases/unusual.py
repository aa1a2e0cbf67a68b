"""Unusual but legal configurations of every family, which transformers can build and save.

They are compared with those that another version of ptm imports: see `compare_trees`.
"""

from __future__ import annotations

from typing import Any

from tests.integration.parity.cases.albert import ALBERT
from tests.integration.parity.cases.bert import BERT, DISTILBERT, ERNIE, ROBERTA, XLM_ROBERTA
from tests.integration.parity.cases.causal import GPT2, LLAMA, OPENAI_GPT
from tests.integration.parity.cases.encoder_decoders import BART, MT5, PEGASUS, T5
from tests.integration.parity.cases.models import HF_UNTIED, Family, Import
from tests.integration.parity.cases.modernbert import MODERNBERT

Config = dict[str, Any]


def _of(family: Family, *configs: Config) -> tuple[Import, ...]:
    return tuple(Import(family, "unusual", config) for config in configs)


def _theta(theta: float, **others: Any) -> Config:
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta, **others}}


_LABELS = {"num_labels": 5, "problem_type": "single_label_classification"}
_HIDDEN: tuple[Config, ...] = (
    {"hidden_act": "gelu_new", "layer_norm_eps": 1e-3},
    {"hidden_act": "silu", **HF_UNTIED},
    {"num_hidden_layers": 1, "num_attention_heads": 1},
    {"num_hidden_layers": 5, "intermediate_size": 40},
    {"hidden_size": 48, "num_attention_heads": 3, "intermediate_size": 50},
    {"max_position_embeddings": 77},
    {**_LABELS, "classifier_dropout": 0.3},
    {"output_hidden_states": True, "use_cache": False},
    {"attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": 0.5},
    {"initializer_range": 0.5, "chunk_size_feed_forward": 1},
)
"""Of encoders with BERT's keys."""

_BERT = _of(
    BERT,
    *_HIDDEN,
    {"type_vocab_size": 7},
    {"type_vocab_size": 1, **HF_UNTIED},
    {"hidden_act": "quick_gelu"},
    {"hidden_act": "gelu_pytorch_tanh"},
    {"hidden_act": "mish"},
    {"position_embedding_type": "absolute"},
    {"use_cache": False},
    {"pad_token_id": None},
    {"bos_token_id": 2, "eos_token_id": 3},
)
_ROBERTA = _of(
    ROBERTA,
    *_HIDDEN,
    {"type_vocab_size": 2},
    {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2},
)
_XLM_ROBERTA = _of(XLM_ROBERTA, *_HIDDEN[:6], {"type_vocab_size": 2})
_ERNIE = _of(
    ERNIE,
    *_HIDDEN[:6],
    {"use_task_id": False},
    {"use_task_id": False, "task_type_vocab_size": 5},
    {"task_type_vocab_size": 1},
    {"type_vocab_size": 1},
    {"hidden_act": "relu", "type_vocab_size": 2},
)
_DISTILBERT = _of(
    DISTILBERT,
    {"activation": "gelu_new", "hidden_dim": 100},
    {"activation": "silu", **HF_UNTIED},
    {"sinusoidal_pos_embds": True},
    {"n_layers": 1, "n_heads": 8},
    {"n_layers": 6},
    {"max_position_embeddings": 60, "qa_dropout": 0.5, "seq_classif_dropout": 0.5},
    {"dropout": 0.0, "attention_dropout": 0.3, **_LABELS},
)
_ALBERT = _of(
    ALBERT,
    {"num_hidden_groups": 1, "inner_group_num": 1},
    {"inner_group_num": 2},
    {"embedding_size": 64},
    {"embedding_size": 200},
    {"num_hidden_layers": 6, "num_hidden_groups": 3},
    {"num_hidden_layers": 3, "num_hidden_groups": 2},
    {"hidden_act": "relu", "layer_norm_eps": 1e-3},
    {"num_attention_heads": 1, "type_vocab_size": 1, **HF_UNTIED},
    {"classifier_dropout_prob": 0.5, **_LABELS},
    {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0},
    {"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.1},
)
_MODERNBERT = _of(
    MODERNBERT,
    {"hidden_activation": "gelu_pytorch_tanh"},
    {"hidden_activation": "relu", "norm_eps": 1e-3},
    {"attention_bias": True},
    {"mlp_bias": True, "norm_bias": True},
    {"attention_bias": True, "mlp_bias": True, "norm_bias": True, "classifier_bias": True},
    {"local_attention": 2},
    {"local_attention": 64, "global_attn_every_n_layers": 1},
    {"global_attn_every_n_layers": 2},
    {"global_attn_every_n_layers": 10},
    {"decoder_bias": False, **HF_UNTIED},
    {"classifier_pooling": "mean", "classifier_dropout": 0.1, **_LABELS},
    {"sparse_prediction": True},
    {"max_position_embeddings": 100, "num_attention_heads": 4},
    {"num_hidden_layers": 1},
    {"layer_types": ["sliding_attention"] * 5},
    {"layer_types": ["full_attention", "sliding_attention"] * 2 + ["full_attention"]},
    {"bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3},
)
_GPT2 = _of(
    GPT2,
    {"activation_function": "silu"},
    {"activation_function": "gelu", "n_inner": 100},
    {"scale_attn_by_inverse_layer_idx": True},
    {"reorder_and_upcast_attn": True},
    {"scale_attn_weights": False, "n_layer": 1},
    {"n_head": 1, "n_positions": 70},
    {"n_layer": 6, "layer_norm_epsilon": 1e-12},
    {"add_cross_attention": True},
    {"summary_type": "mean", "summary_activation": "tanh", "summary_first_dropout": 0.5},
    {"attn_pdrop": 0.0, "embd_pdrop": 0.5, "resid_pdrop": 0.3, **HF_UNTIED},
    {"bos_token_id": 3, "eos_token_id": 3},
)
_OPENAI_GPT = _of(
    OPENAI_GPT,
    {"afn": "silu"},
    {"afn": "gelu", "n_layer": 1},
    {"n_head": 8, "n_positions": 99},
    {"predict_special_tokens": False, "summary_use_proj": False},
    {"layer_norm_epsilon": 1e-3, "n_layer": 4, **HF_UNTIED},
)
_LLAMA = _of(
    LLAMA,
    {"head_dim": 8},
    {"head_dim": 40, "num_key_value_heads": 2},
    {"num_key_value_heads": 1},
    {"hidden_act": "gelu_pytorch_tanh"},
    {"hidden_act": "relu", "tie_word_embeddings": True},
    {"attention_bias": True},
    {"mlp_bias": True},
    {"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 2},
    {"rms_norm_eps": 1e-3, "num_hidden_layers": 1},
    {"pretraining_tp": 1, "use_cache": False, "max_position_embeddings": 50},
    {"attention_dropout": 0.3, "initializer_range": 0.1},
    _theta(500_000.0),
    _theta(10.0, partial_rotary_factor=1.0),
    {"rope_parameters": {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 2.0}},
    {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 2.0}},
    {
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 500_000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        }
    },
    {"eos_token_id": [3, 4]},
    {"pad_token_id": None},
)
_T5_LIKE: tuple[Config, ...] = (
    {"feed_forward_proj": "gated-silu"},
    {"feed_forward_proj": "silu"},
    {"relative_attention_num_buckets": 32, "relative_attention_max_distance": 20},
    {"d_kv": 16, "num_heads": 2},
    {"d_kv": 5, "num_heads": 3},
    {"num_layers": 3, "num_decoder_layers": 1},
    {"layer_norm_epsilon": 1e-3, "d_ff": 30},
    {"initializer_factor": 0.5, "classifier_dropout": 0.4, "dropout_rate": 0.0},
    {"decoder_start_token_id": 3},
    {"use_cache": False, "eos_token_id": 3},
)
_T5 = _of(T5, *_T5_LIKE, {"feed_forward_proj": "gated-relu"}, {"feed_forward_proj": "gated-gelu"})
_MT5 = tuple(Import(MT5, "unusual", config, own_output=True) for config in _T5_LIKE[:6])
_BART_LIKE: tuple[Config, ...] = (
    {"activation_function": "silu", "scale_embedding": True},
    {"activation_function": "relu", "scale_embedding": False},
    {"encoder_layers": 1, "decoder_layers": 3},
    {"encoder_attention_heads": 8, "decoder_attention_heads": 1},
    {"encoder_ffn_dim": 100, "decoder_ffn_dim": 20},
    {"max_position_embeddings": 50},
    {"decoder_start_token_id": 3, "forced_eos_token_id": 3},
    {"decoder_start_token_id": 0, "forced_eos_token_id": None},
    {"encoder_layerdrop": 0.1, "decoder_layerdrop": 0.1, "classifier_dropout": 0.3, **_LABELS},
    {"use_cache": False, "init_std": 0.5, "attention_dropout": 0.2},
    {"d_model": 48, "encoder_attention_heads": 3, "decoder_attention_heads": 6},
)
_BART = _of(BART, *_BART_LIKE, {"forced_bos_token_id": 2})
_PEGASUS = _of(PEGASUS, *_BART_LIKE)

UNUSUAL = (
    *_BERT,
    *_ROBERTA,
    *_XLM_ROBERTA,
    *_ERNIE,
    *_DISTILBERT,
    *_ALBERT,
    *_MODERNBERT,
    *_GPT2,
    *_OPENAI_GPT,
    *_LLAMA,
    *_T5,
    *_MT5,
    *_BART,
    *_PEGASUS,
)
