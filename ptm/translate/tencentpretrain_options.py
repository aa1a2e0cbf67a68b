"""Options of TencentPretrain (version ed79843) that UER-py does not have."""

from __future__ import annotations

from ptm.translate.options import Kind, Option

_MEDIA = "images and audio are out of scope; ptm trains on text"
_LORA = "write the block `adapter` of the recipe: {type: lora, r: 8, lora_alpha: 8}"
_MODEL_PARALLEL = "a layer is not split over ranks; ZeRO 3 or pipeline stages save memory instead"


def _media(name: str, kind: Kind = "integer", *, many: bool = False) -> Option:
    return Option(name, kind, why=_MEDIA, many=many, tool="tencentpretrain")


IMAGE_AND_AUDIO = (
    _media("--image_height"),
    _media("--image_width"),
    _media("--patch_size"),
    _media("--channels_num"),
    _media("--image_preprocess", "text", many=True),
    _media("--sampling_rate"),
    _media("--audio_preprocess", "text", many=True),
    _media("--max_audio_frames"),
    _media("--conv_layers_num"),
    _media("--audio_feature_size"),
    _media("--conv_channels", many=True),
    _media("--conv_kernel_sizes", many=True),
    _media("--vqgan_model_path", "text"),
    _media("--vqgan_config_path", "text"),
)

PREPROCESS = (
    Option(
        "--json_format_corpus",
        "flag",
        why="corpora are plain text; write the field `text` of each object on a line of its own",
        default=False,
        tool="tencentpretrain",
    ),
    *(one for one in IMAGE_AND_AUDIO if one.name.startswith("--vqgan")),
)

PRETRAIN = (
    Option(
        "--rotary_position_embedding",
        "flag",
        key="`model.encoder.rotary`",
        default=False,
        tool="tencentpretrain",
    ),
    Option(
        "--layernorm_eps",
        "number",
        key="`model.encoder.norm_epsilon`, for `norm: rms`",
        default=1e-6,
        tool="tencentpretrain",
    ),
    Option(
        "--alibi_position_embedding",
        "flag",
        why="ALiBi is not implemented; choose `model.encoder.rotary` or `position_bias`",
        default=False,
        tool="tencentpretrain",
    ),
    Option(
        "--layer_number_scale",
        "flag",
        why="scores are not scaled by the number of the layer",
        default=False,
        tool="tencentpretrain",
    ),
    *IMAGE_AND_AUDIO,
    Option(
        "--tensor_model_parallel_size",
        "integer",
        why=_MODEL_PARALLEL,
        default=1,
        tool="tencentpretrain",
    ),
    Option(
        "--pipeline_model_parallel_size",
        "integer",
        key="`engine.pipeline_stages` with `engine.deepspeed: pipeline`",
        default=1,
        tool="tencentpretrain",
    ),
    Option(
        "--virtual_pipeline_model_parallel_size",
        "integer",
        why="stages are not interleaved",
        tool="tencentpretrain",
    ),
    Option(
        "--distribute_checkpointed_activations",
        "flag",
        why=_MODEL_PARALLEL,
        default=False,
        tool="tencentpretrain",
    ),
    Option(
        "--deepspeed",
        "flag",
        key="`engine.deepspeed`; every training uses DeepSpeed",
        default=False,
        tool="tencentpretrain",
    ),
    Option(
        "--enable_zero3",
        "flag",
        key="`engine.deepspeed: zero3`",
        default=False,
        tool="tencentpretrain",
    ),
    Option(
        "--deepspeed_config",
        key="`engine.deepspeed`, `engine.precision`",
        default="models/deepspeed_config.json",
        tool="tencentpretrain",
    ),
    Option(
        "--deepspeed_checkpoint_activations",
        "flag",
        copied_to="engine.activation_checkpointing",
        default=False,
        tool="tencentpretrain",
    ),
    Option(
        "--deepspeed_checkpoint_layers_num",
        "integer",
        why="every layer is recomputed on its own",
        tool="tencentpretrain",
    ),
    Option(
        "--resume_from_checkpoint",
        why="a run with the same name continues from its newest checkpoint",
        tool="tencentpretrain",
    ),
    Option(
        "--local_rank",
        "integer",
        why="the launcher passes each rank its number",
        tool="tencentpretrain",
    ),
    Option(
        "--global_rank",
        "integer",
        why="the launcher passes each rank its number",
        tool="tencentpretrain",
    ),
    Option("--use_lora", "flag", why=_LORA, default=False, tool="tencentpretrain"),
    Option("--lora_pretrained_model_path", why=_LORA, tool="tencentpretrain"),
    Option("--lora_r", "integer", why=_LORA, tool="tencentpretrain"),
    Option("--lora_alpha", "integer", why=_LORA, tool="tencentpretrain"),
    Option("--lora_dropout", "number", why=_LORA, tool="tencentpretrain"),
)
