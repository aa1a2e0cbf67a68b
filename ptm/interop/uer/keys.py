"""Keys of configs of UER-py and TencentPretrain, which may hold any option of a command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ptm.errors import UserError, closest

_SIZES = (
    *("emb_size", "hidden_size", "feedforward_size", "max_seq_length", "heads_num"),
    *("attention_head_size", "local_kv_heads_num", "layers_num", "decoder_layers_num"),
    *("relative_attention_buckets_num", "kernel_size", "block_size", "labels_num"),
)
READ = frozenset(
    (
        *_SIZES,
        *("hidden_act", "dropout", "encoder", "decoder", "mask", "bidirectional"),
        *("embedding", "tgt_embedding", "share_embedding", "remove_embedding_layernorm"),
        *("factorized_embedding_parameterization", "parameter_sharing", "has_residual_attention"),
        *("layernorm", "layernorm_eps", "layernorm_positioning", "feed_forward"),
        *("relative_position_embedding", "rotary_position_embedding", "remove_attention_scale"),
        *("remove_transformer_bias", "data_processor", "target", "tie_weights"),
        *("has_lmtarget_bias", "pooling"),
    )
)
"""Keys that the model is made from."""

NOT_SUPPORTED = frozenset(
    (*("alibi_position_embedding", "use_alibi", "layer_number_scale", "use_lora", "lora_params"),)
)
"""Keys that change what is computed unless they are false; they have no counterpart in `ptm`."""

WITHOUT_INFLUENCE = frozenset(
    (
        # Data and tokenizers.
        *("corpus_path", "dataset_path", "train_path", "dev_path", "test_path", "prediction_path"),
        *("vocab_path", "merges_path", "spm_model_path", "do_lower_case", "tokenizer"),
        *("tgt_vocab_path", "tgt_merges_path", "tgt_spm_model_path", "tgt_do_lower_case"),
        *("tgt_tokenizer", "vocab_size", "special_tokens_map_path", "json_format_corpus"),
        *("seq_length", "tgt_seq_length", "processes_num", "preprocess_workers", "dup_factor"),
        *("docs_buffer_size", "instances_buffer_size", "short_seq_prob", "full_sentences"),
        *("dynamic_masking", "whole_word_masking", "span_masking", "span_geo_prob"),
        *("span_max_length", "sentence_selection_strategy", "prefix_lm_loss"),
        # Training.
        *("pretrained_model_path", "output_model_path", "load_model_path", "config_path"),
        *("total_steps", "epochs_num", "save_checkpoint_steps", "report_steps", "batch_size"),
        *("accumulation_steps", "learning_rate", "lr_decay", "warmup", "beta1", "beta2"),
        *("optimizer", "scheduler", "fp16", "fp16_opt_level", "deep_init", "seed", "soft_targets"),
        *("soft_alpha", "label_smoothing", "ignore_index", "use_adv", "adv_type", "fgm_epsilon"),
        *("pgd_k", "pgd_epsilon", "pgd_alpha", "lora_r", "lora_alpha", "lora_dropout"),
        *("lora_pretrained_model_path",),
        # The launcher and the logs.
        *("world_size", "gpu_ranks", "master_ip", "backend", "local_rank", "global_rank"),
        *("single_gpu", "dist_train", "gpu_id", "deepspeed", "deepspeed_config", "enable_zero3"),
        *("deepspeed_checkpoint_activations", "deepspeed_checkpoint_layers_num"),
        *("distribute_checkpointed_activations", "resume_from_checkpoint", "log_path", "use_mp"),
        *("tensor_model_parallel_size", "pipeline_model_parallel_size"),
        *("virtual_pipeline_model_parallel_size",),
        *("log_level", "log_file_level"),
        # Two streams, images and audio: their encoder and embeddings are not supported.
        *("stream_0", "stream_1"),
        *("image_height", "image_width", "patch_size", "channels_num", "image_preprocess"),
        *("image_tokenizer", "vqgan_model_path", "vqgan_config_path", "sampling_rate"),
        *("audio_preprocess", "audio_feature_size", "max_audio_frames", "specaugment"),
        *("conv_layers_num", "conv_channels", "conv_kernel_sizes", "projection", "feature_size"),
    )
)
"""Keys that do not change the models that `ptm` imports."""


def check_keys(config: Mapping[str, Any]) -> None:
    """Raise UserError naming the first key that is unknown, not supported or not an integer."""
    for key, value in config.items():
        if key in _SIZES and type(value) is not int:
            raise UserError(f"{key} = {json.dumps(value)} is not an integer.")
        if key in NOT_SUPPORTED and value:
            raise UserError(
                f"{key} = {json.dumps(value)} is not supported: the model computes what ptm does "
                "not."
            )
        if key not in READ | NOT_SUPPORTED | WITHOUT_INFLUENCE:
            near = closest(key, sorted(READ))
            hint = f' Did you mean "{near}"?' if near else " Remove it if the model ignores it."
            raise UserError(f'"{key}" is not a key of UER-py or TencentPretrain.{hint}')
