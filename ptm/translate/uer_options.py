"""The options of UER-py's preprocess.py and pretrain.py (version 5743050)."""

from __future__ import annotations

from ptm.translate.options import Option
from ptm.translate.uer_model_options import MODEL

_PROCESSORS = (
    *("bert", "lm", "mlm", "bilm", "albert", "mt", "t5", "cls", "prefixlm", "gsg", "bart"),
    "cls_mlm",
)
_OTHER_PROCESSORS = (*("vit", "vilt", "clip", "s2t", "beit", "dalle", "llm_pretrain", "llm_sft"),)
"""TencentPretrain's."""
_TOKENIZERS = ("bert", "bpe", "char", "space", "xlmroberta")
_OTHER_TOKENIZERS = ("image", "text_image", "virtual", "hfpretrained")
_LOGGING = "console and metrics.jsonl have one fixed format; redirect the console for a file"
_SOFT_TARGETS = "a classifier is not trained on the logits of another model"
_MASKING = "`objective.masking.{key}`; T5 and BART: `objective.noise.{key}`"

TOKENIZER = (
    Option(
        "--tokenizer",
        key="`tokenizer.type`: wordpiece, bpe, char, space; xlmroberta: sentencepiece with "
        "`tokenizer.ids: fairseq`",
        default="bert",
        choices=_TOKENIZERS,
        former_choices=_OTHER_TOKENIZERS,
    ),
    Option("--vocab_path", key="`tokenizer.vocab`"),
    Option("--merges_path", key="`tokenizer.merges`"),
    Option("--spm_model_path", key="`tokenizer.model`"),
    Option(
        "--do_lower_case",
        key="`tokenizer.lowercase`",
        default="true",
        choices=("true", "false"),
        former_choices=("True", "False"),
    ),
    Option(
        "--tgt_tokenizer",
        key="`target_tokenizer.type`",
        default="bert",
        choices=_TOKENIZERS,
        former_choices=_OTHER_TOKENIZERS,
    ),
    Option("--tgt_vocab_path", key="`target_tokenizer.vocab`"),
    Option("--tgt_merges_path", key="`target_tokenizer.merges`"),
    Option("--tgt_spm_model_path", key="`target_tokenizer.model`"),
    Option(
        "--tgt_do_lower_case",
        key="`target_tokenizer.lowercase`",
        default="true",
        choices=("true", "false"),
        former_choices=("True", "False"),
    ),
)

DATA_PROCESSOR = Option(
    "--data_processor",
    key="`objective.type`, `data.layout`; mt: `seq2seq`, cls: `classification`",
    default="bert",
    choices=_PROCESSORS,
    former_choices=_OTHER_PROCESSORS,
)
SEED = Option("--seed", "integer", copied_to="seed", default=7)

MASKING = (
    Option(
        "--whole_word_masking",
        "flag",
        key="`objective.masking.unit: whole_word`, `data.segmenter: {type: jieba}`",
        default=False,
        former=("--wwm",),
    ),
    Option(
        "--span_masking",
        "flag",
        key="`objective.masking.unit: span`; T5: `objective.noise.spans: geometric`",
        default=False,
    ),
    Option("--span_geo_prob", "number", key=_MASKING.format(key="geometric_p"), default=0.2),
    Option("--span_max_length", "integer", key=_MASKING.format(key="max_length"), default=10),
)

_PREPROCESS = (
    Option("--corpus_path", key="`data.corpus`"),
    Option("--dataset_path", key="`data.store`, without .pt", default="dataset.pt"),
    Option(
        "--processes_num",
        "integer",
        copied_to="data.workers",
        default=1,
        former=("--dataset_split_num",),
    ),
    DATA_PROCESSOR,
    Option(
        "--docs_buffer_size",
        "integer",
        why="the store is memory-mapped, so documents are not buffered",
    ),
    Option("--seq_length", "integer", copied_to="data.sequence_length", default=128),
    Option("--tgt_seq_length", "integer", copied_to="data.target_sequence_length", default=128),
    Option(
        "--dup_factor",
        "integer",
        key="`objective.masking.duplicates`, `objective.duplicates`",
        default=5,
    ),
    Option("--short_seq_prob", "number", copied_to="objective.short_probability", default=0.1),
    Option("--full_sentences", "flag", copied_to="objective.concatenate", default=False),
    SEED,
    Option(
        "--dynamic_masking",
        "flag",
        key="`objective.masking.dynamic`, `objective.dynamic`",
        default=False,
    ),
    *MASKING,
    Option(
        "--sentence_selection_strategy",
        copied_to="objective.selection",
        default="lead",
        choices=("lead", "random"),
        former=(
            "--sentence_selection_stratege",
            "--sentence_select_strategy",
            "--select_sentences_strategy",
        ),
    ),
)

OPTIMIZATION = (
    Option("--learning_rate", "number", copied_to="optimizer.learning_rate", default=2e-5),
    Option("--warmup", "number", copied_to="schedule.warmup", default=0.1),
    Option(
        "--lr_decay",
        "number",
        key="`schedule.decay` of `type: wsd`, for tri_stage",
        default=0.5,
    ),
    Option(
        "--optimizer",
        key="`optimizer.type`; adafactor with `scale_parameter` and `relative_step: false`",
        default="adamw",
        choices=("adamw", "adafactor"),
        former_choices=("lamb",),
    ),
    Option(
        "--scheduler",
        key="`schedule.type`; cosine_with_restarts: `cosine`, tri_stage: `wsd`",
        default="linear",
        choices=(
            *("linear", "cosine", "cosine_with_restarts", "polynomial", "constant"),
            *("constant_with_warmup", "inverse_sqrt", "tri_stage"),
        ),
        former=("--schedule",),
        former_choices=("warmuplinear", "warmupconstant", "warmupcosine"),
    ),
)

LOGGING = (
    Option("--log_path", why=_LOGGING),
    Option("--log_level", why=_LOGGING),
    Option("--log_file_level", why=_LOGGING),
)

_PRETRAIN = (
    Option("--dataset_path", key="`data.store`, without .pt", default="dataset.pt"),
    Option("--pretrained_model_path", key="`ptm import --from uer`, then `init_from`"),
    Option(
        "--output_model_path",
        key="`runs_dir`, `name`, then `ptm export --to uer`",
        default="models/output_model.bin",
    ),
    Option("--config_path", key="the block `model`", default="models/bert/base_config.json"),
    Option("--total_steps", "integer", copied_to="train.steps", default=100_000),
    Option(
        "--save_checkpoint_steps",
        "integer",
        key="`checkpoint.every`, `checkpoint.keep_every`",
        default=10_000,
    ),
    Option("--report_steps", "integer", copied_to="tracking.log_every", default=100),
    Option(
        "--accumulation_steps",
        "integer",
        key="`train.global_batch_size` / (ranks x `train.micro_batch_size`)",
        default=1,
    ),
    Option(
        "--batch_size",
        "integer",
        key="`train.micro_batch_size`; times ranks and accumulation: `train.global_batch_size`",
        default=32,
    ),
    Option(
        "--instances_buffer_size",
        "integer",
        why="the order is a permutation of the whole store, so no buffer is shuffled",
    ),
    Option("--labels_num", "integer", copied_to="objective.labels"),
    Option("--dropout", "number", copied_to="model.dropout", default=0.1),
    SEED,
    DATA_PROCESSOR,
    Option("--deep_init", "flag", key="`model.init.residual_scaling`", default=False),
    *MASKING,
    Option(
        "--world_size",
        "integer",
        key="`ptm launch --num-gpus`, the hostfile",
        default=1,
    ),
    Option(
        "--gpu_ranks",
        "integer",
        key="`ptm launch --num-gpus`, the slots of the hostfile",
        default=[],
        many=True,
    ),
    Option(
        "--master_ip",
        key="`ptm launch --master-addr`, `--master-port`",
        default="tcp://localhost:12345",
    ),
    Option("--backend", copied_to="engine.backend", default="nccl", choices=("nccl", "gloo")),
)

FINETUNE = (
    Option("--train_path", key="`data.corpus`, with `data.layout: labelled`"),
    Option("--dev_path", key="`data.evaluation.dev.corpus`"),
    Option("--test_path", key="`data.evaluation.test.corpus`"),
    Option("--epochs_num", "integer", copied_to="train.epochs", default=3),
    Option(
        "--output_model_path",
        key="`runs_dir`, `name`, then `ptm export --to uer`",
        default="models/finetuned_model.bin",
    ),
    Option("--seq_length", "integer", copied_to="data.sequence_length", default=128),
    Option("--soft_targets", "flag", why=_SOFT_TARGETS),
    Option("--soft_alpha", "number", why=_SOFT_TARGETS),
    Option("--use_adv", "flag", why="adversarial training (FGM, PGD) is not implemented"),
    Option("--adv_type", why="adversarial training (FGM, PGD) is not implemented"),
    Option("--fgm_epsilon", "number", why="adversarial training (FGM, PGD) is not implemented"),
    Option("--pgd_k", "integer", why="adversarial training (FGM, PGD) is not implemented"),
    Option("--pgd_epsilon", "number", why="adversarial training (FGM, PGD) is not implemented"),
    Option("--pgd_alpha", "number", why="adversarial training (FGM, PGD) is not implemented"),
)
"""What run_classifier.py has besides, or in place of, the options of pretrain.py."""
INFER = (
    Option("--load_model_path", key="the first argument of `ptm evaluate`, `ptm embed`"),
    Option(
        "--prediction_path",
        why="a training writes no predictions; `ptm predict RUN FILE --out` does",
    ),
)
"""Of the scripts that apply a model; the page lists them, no line of them is translated."""

PREPROCESS = (*_PREPROCESS, *TOKENIZER)
PRETRAIN = (*_PRETRAIN, *MODEL, *TOKENIZER, *OPTIMIZATION, *LOGGING)
