"""What a message about an unknown key or value proposes, for users who come from other tools.

Names are those of transformers' TrainingArguments and model configs, UER-py's and TencentPretrain's
command lines, Megatron, torchtitan, PyTorch Lightning and DeepSpeed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from ptm.errors import closest
from ptm.recipe.former_keys import RENAMED_KEYS, RENAMED_VALUES
from ptm.recipe.keys import configs_in, recipe_keys

_ENCODER = "model.encoder"
_SAME_MEANING: Mapping[str, tuple[str, ...]] = {
    # Optimizer and schedule
    "optimizer.learning_rate": (
        *("lr", "max_lr", "peak_lr", "base_lr", "max_learning_rate", "muon_lr"),
    ),
    "optimizer.weight_decay": ("wd", "decay_rate", "weight_decay_rate"),
    "optimizer.beta1": ("adam_beta1", "beta_1", "adam_b1"),
    "optimizer.beta2": ("adam_beta2", "beta_2", "adam_b2"),
    "optimizer.epsilon": ("adam_epsilon", "adam_eps", "eps"),
    "optimizer.type": ("optim", "optimizer_name", "optimizer_type"),
    "optimizer.adapt_vectors": ("use_nvlamb", "always_adapt"),
    "optimizer.momentum": ("muon_momentum",),
    "optimizer.nesterov": ("muon_use_nesterov",),
    "optimizer.ns_steps": ("muon_num_ns_steps",),
    "optimizer.adjust_lr_fn": ("muon_scale_mode",),
    "optimizer.adamw_learning_rate": ("adam_lr", "adamw_lr"),
    "schedule": ("scheduler", "lr_scheduler"),
    "schedule.type": ("lr_scheduler_type", "scheduler_type", "lr_decay_style", "lr_schedule"),
    "schedule.warmup": (
        *("warmup_steps", "warmup_ratio", "num_warmup_steps", "warmup_proportion"),
        *("lr_warmup_steps", "lr_warmup_fraction", "lr_warmup_iters"),
    ),
    "schedule.floor": ("min_lr", "min_lr_ratio", "min_lr_rate", "final_lr_ratio", "alpha_f"),
    "schedule.decay": ("lr_wsd_decay_iters", "decay_steps", "num_decay_steps", "cooldown"),
    # Training
    "train.global_batch_size": ("batch_size", "train_batch_size", "total_batch_size"),
    "train.micro_batch_size": (
        *("per_device_train_batch_size", "per_gpu_train_batch_size", "micro_batch"),
        *("train_micro_batch_size_per_gpu", "device_batch_size", "local_batch_size"),
        *("device_train_microbatch_size",),
    ),
    "train.gradient_clipping": (
        *("max_grad_norm", "grad_clip", "clip_grad", "gradient_clip_val", "clip_grad_norm"),
        *("max_gradient_norm", "clipping"),
    ),
    "train.epochs": ("num_train_epochs", "epochs_num", "max_epochs", "num_epochs"),
    "train.steps": ("max_steps", "total_steps", "train_iters", "num_steps", "num_iterations"),
    "train.freeze": ("freeze_layers", "frozen", "freeze_parameters"),
    "train.early_stopping.patience": ("early_stopping_patience", "earlystop"),
    "train.early_stopping.min_delta": ("early_stopping_threshold", "minimum_change"),
    "init_from": (
        *("pretrained_model_path", "pretrained_model_name_or_path", "model_name_or_path"),
        *("from_pretrained", "load", "load_path", "checkpoint_path", "pretrained"),
    ),
    "name": ("run_name", "exp_name", "experiment_name"),
    "runs_dir": ("output_dir", "output_model_path", "save_dir", "save_folder", "out_dir"),
    "seed": ("random_seed", "data_seed"),
    # Checkpoints and tracking
    "checkpoint.every": (
        *("save_steps", "save_interval", "save_checkpoint_steps", "save_every"),
        *("checkpoint_interval", "save_freq"),
    ),
    "checkpoint.keep": ("save_total_limit", "keep_last", "keep_latest_k"),
    "checkpoint.best": ("metric_for_best_model", "load_best_model_at_end", "best_metric"),
    "checkpoint.async_save": ("async_mode", "async_checkpoint", "save_async", "write_behind"),
    "tracking.log_every": (
        "logging_steps",
        "log_interval",
        "report_steps",
        "log_freq",
        "report_every",
    ),
    "tracking.evaluate_every": ("eval_steps", "eval_interval", "eval_every", "evaluation_steps"),
    "tracking.wandb.project": ("wandb_project", "project_name"),
    # Engine
    "engine.precision": (
        *("fp16", "bf16", "mixed_precision", "precision", "dtype", "torch_dtype", "amp"),
        *("param_dtype",),
    ),
    "engine.deepspeed": (
        *("deepspeed_config", "ds_config", "zero_stage", "zero", "zero_optimization", "fsdp"),
        *("use_distributed_optimizer",),
    ),
    "engine.pipeline_stages": (
        *("pipeline_parallel_size", "pipeline_model_parallel_size", "num_stages", "pp"),
        *("pipeline_parallel_degree",),
    ),
    "engine.activation_checkpointing": (
        *("gradient_checkpointing", "recompute", "recompute_granularity", "checkpoint_activations"),
        *("activation_checkpoint",),
    ),
    "engine.attention": (
        *("attn_implementation", "use_flash_attention", "use_flash_attn", "flash_attention"),
        *("attention_backend",),
    ),
    "engine.timeout_minutes": ("ddp_timeout", "distributed_timeout_minutes", "timeout"),
    "engine.backend": ("ddp_backend", "distributed_backend"),
    "engine.loss_scale.initial_power": ("initial_scale_power",),
    "engine.loss_scale.window": ("loss_scale_window",),
    # Model
    f"{_ENCODER}.activation": ("hidden_act", "activation_function", "act_fn", "hidden_activation"),
    f"{_ENCODER}.feed_forward_size": (
        *("intermediate_size", "feedforward_size", "ffn_hidden_size", "ffn_dim", "n_inner"),
        *("d_ff", "ffn_size", "mlp_hidden_size"),
    ),
    f"{_ENCODER}.heads": (
        *("num_attention_heads", "heads_num", "n_head", "nhead", "num_heads", "n_heads"),
    ),
    f"{_ENCODER}.layers": (
        *("num_hidden_layers", "layers_num", "n_layer", "num_layers", "n_layers", "depth"),
    ),
    f"{_ENCODER}.hidden_size": ("n_embd", "d_model", "hidden_dim", "model_dim", "dim"),
    f"{_ENCODER}.key_value_heads": ("num_key_value_heads", "num_query_groups", "n_kv_heads"),
    f"{_ENCODER}.head_size": ("head_dim", "d_kv", "attention_head_size", "kv_channels"),
    f"{_ENCODER}.norm_epsilon": (
        *("layer_norm_eps", "layer_norm_epsilon", "rms_norm_eps", "layernorm_epsilon", "norm_eps"),
    ),
    f"{_ENCODER}.norm_position": ("layernorm_positioning", "normalize_before", "pre_norm"),
    f"{_ENCODER}.norm": ("layernorm", "normalization", "norm_type"),
    f"{_ENCODER}.bias": ("use_bias", "remove_transformer_bias", "add_bias_linear"),
    f"{_ENCODER}.rotary.theta": ("rope_theta", "rotary_base", "global_rope_theta", "rope_base"),
    f"{_ENCODER}.rotary": ("rope", "use_rotary_position_embeddings"),
    f"{_ENCODER}.position_bias": ("relative_position_embedding",),
    f"{_ENCODER}.position_bias.buckets": ("relative_attention_num_buckets",),
    f"{_ENCODER}.position_bias.max_distance": ("relative_attention_max_distance",),
    f"{_ENCODER}.window": ("local_attention", "sliding_window", "window_size"),
    f"{_ENCODER}.global_every": ("global_attn_every_n_layers",),
    f"{_ENCODER}.shared_groups": ("parameter_sharing", "num_hidden_groups"),
    f"{_ENCODER}.residual_attention": ("has_residual_attention",),
    f"{_ENCODER}.visibility": ("attention_mask", "is_causal", "causal", "is_decoder", "mask"),
    "model.embedding.positions": (
        *("max_position_embeddings", "n_positions", "max_positions", "n_ctx"),
    ),
    "model.embedding.parts": ("embeddings", "embedding_parts"),
    "model.embedding.segments": ("type_vocab_size", "token_type_vocab_size"),
    "model.embedding.size": ("embedding_size", "emb_size"),
    "model.embedding.layer_norm": ("remove_embedding_layernorm", "embedding_layer_norm"),
    "model.dropout": ("hidden_dropout_prob", "resid_pdrop", "dropout_rate", "hidden_dropout"),
    "model.attention_dropout": ("attention_probs_dropout_prob", "attn_pdrop"),
    "model.init.std": ("initializer_range", "init_std", "init_method_std"),
    # Tokenizer
    "tokenizer.vocab": ("vocab_file", "vocab_path"),
    "tokenizer.size": ("vocab_size", "vocabulary_size"),
    "tokenizer.lowercase": ("do_lower_case", "do_lowercase", "lower", "uncased"),
    "tokenizer.model": ("spm_model_path", "sentencepiece_model", "model_file"),
    "tokenizer.merges": ("merges_file", "merges_path"),
    "target_tokenizer": ("tgt_tokenizer", "decoder_tokenizer"),
    # Objective
    "objective": ("target", "task", "pretraining_task"),
    "objective.masking.rate": (
        *("mlm_probability", "mask_prob", "masked_lm_prob", "masking_probability", "mask_ratio"),
    ),
    "objective.masking.unit": ("whole_word_masking", "wwm", "span_masking", "mask_level"),
    "objective.masking.max_predictions": ("max_predictions_per_seq",),
    "objective.masking.duplicates": ("dup_factor", "dupe_factor"),
    "objective.masking.dynamic": ("dynamic_masking",),
    "objective.masking.geometric_p": ("span_geo_prob",),
    "objective.masking.max_length": ("span_max_length",),
    "objective.short_probability": ("short_seq_prob",),
    "objective.label_smoothing": ("label_smoothing_factor",),
    "objective.head.tied": ("tie_word_embeddings", "tie_weights", "tie_embeddings"),
    "objective.labels": ("labels_num", "num_labels", "label_list", "num_classes", "id2label"),
    "objective.class_weights": ("class_weight", "loss_weights", "label_weights"),
    "objective.concatenate": ("concatenate", "group_texts", "concat"),
    "objective.add_bos": ("add_bos_token", "add_special_tokens", "prepend_bos"),
    "objective.noise.mean_length": ("mean_noise_span_length",),
    "objective.noise.rate": ("noise_density", "corruption_rate"),
    # Data
    "data.corpus": (
        *("train_file", "corpus_path", "data_path", "dataset", "dataset_path", "train_path"),
        *("train_data", "dataset_name", "files"),
    ),
    "data.text_field": ("text_column", "text_column_name", "text_key", "json_key", "json_keys"),
    "data.fields.label": ("label_column", "label_column_name", "label_field"),
    "data.fields.source": ("source_column", "source_column_name", "source_lang"),
    "data.fields.target": ("target_column", "target_column_name", "target_lang"),
    "data.fields.text": ("sentence1_key", "text_a", "sentence1"),
    "data.fields.text_b": ("sentence2_key", "text_pair", "sentence2"),
    "data.format": ("file_format", "dataset_format", "file_type", "data_format"),
    "data.encoding": ("charset", "file_encoding", "data_encoding"),
    "data.quoting": ("quote", "quotechar", "quotes"),
    "data.sequence_length": (
        *("seq_length", "seq_len", "max_seq_length", "max_seq_len", "block_size", "max_length"),
        *("max_sequence_length", "context_length", "max_source_length"),
    ),
    "data.target_sequence_length": ("tgt_seq_length", "max_target_length"),
    "data.held_out": ("validation_split_percentage", "valid_ratio", "val_split", "test_size"),
    "data.evaluation": ("eval_dataset", "validation_file", "dev_path", "eval_data"),
    "data.exhaustion": ("stopping_strategy", "mixture_strategy"),
    "data.packing": ("group_by_length", "pack", "sample_packing", "pack_sequences"),
    "data.workers": (
        *("num_workers", "processes_num", "preprocessing_num_workers", "num_proc"),
        *("dataloader_num_workers",),
    ),
}
"""Dotted path of this project's key -> names of other tools with the same meaning."""

_OTHERWISE: Mapping[str, tuple[str, ...]] = {
    "Gradient accumulation is derived: train.global_batch_size / (train.micro_batch_size x "
    "data-parallel ranks).": (
        *("gradient_accumulation_steps", "accumulation_steps", "grad_accum", "accumulate_grad"),
        *("accumulate_grad_batches", "gradient_accumulation"),
    ),
    "The launcher sets the number of ranks: `ptm launch --num-gpus N` or a hostfile.": (
        *("world_size", "gpu_ranks", "num_gpus", "n_gpus", "devices", "num_nodes", "local_rank"),
        *("data_parallel_size",),
    ),
    "Set optimizer.beta1 and optimizer.beta2.": ("betas", "adam_betas"),
    "Set tracking.wandb: {project: NAME} or tracking.tensorboard: true.": (
        *("report_to", "logger", "loggers", "use_wandb", "wandb"),
    ),
    "A run that exists is continued when `ptm train` is called again with the same name.": (
        *("resume", "resume_from_checkpoint", "resume_from", "auto_resume"),
    ),
    "Rows are always shuffled, by a permutation that depends on seed and epoch.": (
        *("shuffle", "shuffle_buffer", "shuffle_buffer_size"),
    ),
    "Tensor parallelism is not supported; use ZeRO (engine.deepspeed) or pipeline stages.": (
        *("tensor_parallel_size", "tensor_model_parallel_size", "tp", "tp_size"),
        *("tensor_parallel_degree",),
    ),
    "torch.compile is not supported.": ("torch_compile", "compile"),
    "Evaluation uses the batch size of the training: train.micro_batch_size.": (
        *("eval_batch_size", "per_device_eval_batch_size"),
    ),
}
"""Sentence -> names of other tools that this project has no single key for."""

_VALUES: Mapping[str, Mapping[str, str]] = {
    "tokenizer.type": {
        "bert": "wordpiece",
        "bpe_bert": "wordpiece",
        "gpt2": "bpe",
        "roberta": "bpe",
        "bytelevel": "bpe",
        "xlmroberta": "sentencepiece, with ids: fairseq",
        "xlm-roberta": "sentencepiece, with ids: fairseq",
        "xlm_roberta": "sentencepiece, with ids: fairseq",
        "t5": "sentencepiece, with sentinels: 100",
        "pegasus": "sentencepiece, with ids: pegasus",
        "spm": "sentencepiece",
        "unigram": "sentencepiece",
        "character": "char",
        "whitespace": "space",
    },
    "objective.type": {
        "clm": "lm",
        "causal_lm": "lm",
        "gpt": "lm",
        "gpt2": "lm",
        "llama": "lm",
        "elmo": "bilm",
        "roberta": "mlm",
        "spanbert": "mlm, with masking.unit: span",
        "masked_lm": "mlm",
        "nsp": "bert",
        "sop": "albert",
        "pegasus": "gsg",
        "translation": "seq2seq",
        "unilm": "prefixlm",
        "prefix_lm": "prefixlm",
        "distilbert": "distil",
        "distillation": "distil",
        "denoising": "bart, or t5",
        "span_corruption": "t5",
        "cls": "classification",
        "classifier": "classification",
        "sequence_classification": "classification",
        "sentiment": "classification",
    },
    "objective.masking.unit": {
        "wwm": "whole_word",
        "word": "whole_word",
        "n-gram": "ngram",
        "subword": "token",
        "entity": "phrase, with weights",
    },
    "optimizer.type": {
        "adam": "adamw",
        "adamw_torch": "adamw",
        "adamw_torch_fused": "adamw",
        "adamw_hf": "adamw",
        "fusedadam": "adamw",
        "lion_32bit": "lion",
        "lion_8bit": "lion",
        "paged_lion_32bit": "lion",
        "paged_lion_8bit": "lion",
        "fusedlion": "lion",
        "lionw": "lion",
        "decoupled_lionw": "lion",
        "fusedlamb": "lamb",
        "nvlamb": "lamb, with adapt_vectors: true",
        "onebitlamb": "lamb",
        "adamw_stable": "stable_adamw",
        "stableadamw": "stable_adamw",
        "stableadam": "stable_adamw",
        "muonwithauxadam": "muon",
        "dist_muon": "muon",
    },
    "schedule.type": {
        "cosine_with_restarts": "cosine",
        "cosine_with_min_lr": "cosine, with floor",
        "cosine_annealing": "cosine",
        "linear_with_warmup": "linear, with warmup",
        "constant_with_warmup": "constant, with warmup",
        "warmup_stable_decay": "wsd",
        "noam": "inverse_sqrt",
        "tri_stage": "wsd",
    },
    "engine.precision": {
        "float16": "fp16",
        "half": "fp16",
        "16": "fp16",
        "16-mixed": "fp16",
        "bfloat16": "bf16",
        "bf16-mixed": "bf16",
        "float32": "fp32",
        "32": "fp32",
        "tf32": "fp32",
        "no": "fp32",
    },
    "engine.attention": {
        "eager": "sdpa",
        "flash_attention_2": "varlen",
        "flash": "sdpa",
        "flex_attention": "flex",
    },
    f"{_ENCODER}.type": {
        "bert": "transformer",
        "gpt2": "transformer",
        "roberta": "transformer",
        "elmo": "bilstm",
    },
    f"{_ENCODER}.activation": {
        "gelu_new": "gelu_tanh",
        "gelu_fast": "gelu_tanh",
        "gelu_pytorch_tanh": "gelu_tanh",
        "swish": "silu",
        "swiglu": "silu, with feed_forward: gated",
        "geglu": "gelu, with feed_forward: gated",
    },
    f"{_ENCODER}.norm": {"rmsnorm": "rms", "rms_norm": "rms", "layernorm": "layer"},
    f"{_ENCODER}.visibility": {
        "fully_visible": "full",
        "bidirectional": "full",
        "causal_with_prefix": "prefix",
    },
    "data.format": {
        "jsonl": "json_lines",
        "json": "json_lines",
        "ndjson": "json_lines",
        "txt": "text",
        "plain": "text",
        "feather": "arrow",
        "ipc": "arrow",
        "pq": "parquet",
        "tab": "tsv",
        **dict.fromkeys(("csv2", "excel", "semicolon", "ssv", "scsv"), "csv_semicolon"),
    },
    "data.layout": {
        "json": "documents, with text_field",
        "jsonl": "documents, with text_field",
        "doc": "documents",
        "text": "documents",
        "sentence": "sentences",
        "line_by_line": "documents",
        "parallel": "pairs",
        "tsv": "pairs, or labelled for labels and texts",
        "classification": "labelled",
        "labeled": "labelled",
    },
}
"""Dotted path -> value of another tool -> value of this project."""


def any_key(dotted: str) -> bool:
    """Whether a recipe can have the key."""
    return dotted in recipe_keys()


def key_hint(
    path: Sequence[str], known: Iterable[str], *, exists: Callable[[str], bool] = any_key
) -> str:
    """What to write instead of the unknown key at `path`: a sentence that begins with a space.

    `known` are the keys of the block that the key was found in. `exists`: whether the recipe can
    have a key, with the types that it chooses. The first that applies: the new
    name of a former key, the key of the same meaning, the key of that name in another block, a key
    of the block with almost the same letters, all keys of the block.
    """
    choices = sorted(known)
    dotted, name = ".".join(path), path[-1]
    renamed = RENAMED_KEYS.get(dotted)
    if renamed in choices:
        return f' It is called "{".".join((*path[:-1], renamed))}" now.'
    misspelled = closest(name.lower().replace("-", "_"), choices)
    found = _same_meaning(path, choices, exists) or (
        "" if misspelled else _elsewhere(path[:-1], name, exists) or ""
    )
    if found:
        return found
    if misspelled:
        return f' Did you mean "{misspelled}"?'
    return f" Keys of this block: {', '.join(choices)}." if choices else ""


def value_hint(path: Sequence[str], value: str, known: Iterable[str]) -> str:
    """What to write instead of the unknown word `value` at `path`, as in `key_hint`."""
    choices = sorted(known)
    dotted = ".".join(path).replace("model.decoder.", f"{_ENCODER}.")
    renamed = RENAMED_VALUES.get(dotted, {}).get(value)
    if renamed in choices:
        return f' It is called "{renamed}" now.'
    same = _VALUES.get(dotted, {}).get(value.lower())
    if same is not None:
        return f" The nearest is {same}."
    misspelled = closest(value.lower(), choices)
    if misspelled:
        return f' Did you mean "{misspelled}"?'
    return f" Choose one of: {', '.join(choices)}." if choices else ""


def _same_meaning(
    path: Sequence[str], choices: Sequence[str], exists: Callable[[str], bool]
) -> str | None:
    """The key that has the meaning of another tool's `path[-1]`."""
    name = path[-1].lower().replace("-", "_")
    targets = [target for target, names in _SAME_MEANING.items() if name in names]
    for target in targets:
        *block, last = target.split(".")
        # The decoder has most keys of the encoder; a block's own key comes without its path.
        if last in choices and (path[0] == block[0] if len(path) > 1 else not block):
            return f' Did you mean "{last}"?'
    existing = [target for target in targets if exists(target)]
    if existing:
        return f' Did you mean "{existing[0]}"?'
    if targets:
        return f' "{targets[0]}" has this meaning, but not with the types chosen in this recipe.'
    for sentence, names in _OTHERWISE.items():
        if name in names:
            return f" {sentence}"
    return None


def _elsewhere(block: Sequence[str], name: str, exists: Callable[[str], bool]) -> str | None:
    """The key of the same name in another block; of several, the least deep one."""
    here = ".".join(block)
    paths = [
        dotted
        for dotted, key in recipe_keys().items()
        if key.path[-1] == name
        and ".".join(key.path[:-1]) != here
        and name != "type"
        # A block of the recipe shares its name with a key by chance: `tokenizer.model`.
        and (len(key.path) > 1 or not any(True for _ in configs_in(key.field.annotation)))
        and exists(dotted)
    ]
    if not paths:
        return None
    # `init_from.layers` chooses layers of another model; the model's own key is the likelier one.
    likeliest = min(paths, key=lambda one: (one.startswith("init_from"), one.count(".")))
    level = "" if "." in likeliest else "the top-level key "
    return f' Did you mean {level}"{likeliest}"?'
