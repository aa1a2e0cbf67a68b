"""The recipe of a preprocess.py line and a pretrain.py line of UER-py or TencentPretrain."""

from __future__ import annotations

import json
import re
from pathlib import PurePosixPath

from ptm.errors import UserError
from ptm.translate.draft import Draft
from ptm.translate.ranks import Ranks
from ptm.translate.uer_deepspeed import set_engine
from ptm.translate.uer_model_block import WITH_DECODER, set_model
from ptm.translate.uer_objective import set_objective
from ptm.translate.uer_settings import UerSettings, unknown_keys

PLACEHOLDER_CORPUS, PLACEHOLDER_VOCABULARY = "corpora/corpus.txt", "vocab.txt"
_LAYOUTS = {
    **dict.fromkeys(("mlm", "lm", "bilm", "t5"), "documents"),
    **dict.fromkeys(("bert", "albert", "gsg", "bart"), "sentences"),
    **dict.fromkeys(("seq2seq", "prefixlm"), "pairs"),
    "classification": "labelled",
}
_TOKENIZERS = {"bert": "wordpiece", "char": "char", "space": "space", "bpe": "bpe"}
_SCHEDULES = {
    **dict.fromkeys(("linear", "cosine", "polynomial", "inverse_sqrt", "constant"), None),
    "cosine_with_restarts": "cosine",
    "constant_with_warmup": "constant",
    "tri_stage": "wsd",
    "warmuplinear": "linear",
    "warmupconstant": "constant",
    "warmupcosine": "cosine",
}
"""UER-py's name to ours; None: the same."""
_ADAM_EPSILON = 1e-6
"""Epsilon of UER-py's AdamW."""
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9_])?")
"""Names that `run_name` leaves as they are."""
_DECODER_OPTIONS = ("tgt_embedding", "share_embedding")
_TARGET_TOKENIZER = (
    *("tgt_tokenizer", "tgt_vocab_path", "tgt_merges_path", "tgt_spm_model_path"),
    "tgt_do_lower_case",
)


def uer_recipe(settings: UerSettings, ranks: Ranks, *, name: str, init_from: str | None) -> Draft:
    """Return the recipe; its length is in epochs if the script has `--epochs_num`, else in steps.

    `name`: name of the run. `init_from`: the model to start from, if any. Raises UserError for an
    objective or a model that has no counterpart.
    """
    layout = _LAYOUTS.get(settings.objective)
    if layout is None:
        raise UserError(
            f"the data processor {settings.processor} has no counterpart. Processors that have "
            f"one: {', '.join(_processors())}."
        )
    draft = Draft("Translated from command lines of UER-py or TencentPretrain.")
    output = settings.get("output_model_path")
    set_name(draft, name, run_stem(output), settings.origin("output_model_path"))
    runs = runs_folder(output)
    draft.set("runs_dir", runs, settings.origin("output_model_path"))
    _copy(draft, settings, "seed")
    draft.set("init_from", init_from, "--pretrained_model_path")
    _set_tokenizer(draft, settings, "tokenizer", prefix="")
    _set_data(draft, settings, layout)
    set_model(draft, settings)
    set_objective(draft, settings)
    _set_optimizer(draft, settings)
    _set_train(draft, settings, ranks)
    set_engine(draft, settings)
    _copy(draft, settings, "report_steps")
    _add_notes(draft, settings)
    return draft


def _processors() -> list[str]:
    names = {"seq2seq": ["mt"], "classification": ["cls", "cls_mlm"]}
    return [one for objective in _LAYOUTS for one in names.get(objective, [objective])]


def _copy(draft: Draft, settings: UerSettings, name: str) -> None:
    """Set the key that takes the option's value unchanged."""
    draft.set(settings.option(name).copied_to, settings.get(name), settings.origin(name))


def _set_tokenizer(draft: Draft, settings: UerSettings, block: str, *, prefix: str) -> None:
    """Set `tokenizer` or, with `prefix` `tgt_`, `target_tokenizer`."""
    kind = settings.get(f"{prefix}tokenizer")
    vocab, pieces = settings.get(f"{prefix}vocab_path"), settings.get(f"{prefix}spm_model_path")
    origin = settings.origin(f"{prefix}tokenizer")
    if kind == "xlmroberta" or pieces:
        if not pieces:
            raise UserError(f"--{prefix}tokenizer {kind} needs --{prefix}spm_model_path.")
        draft.set(f"{block}.type", "sentencepiece", origin)
        draft.set(f"{block}.model", pieces, settings.origin(f"{prefix}spm_model_path"))
        if kind == "xlmroberta":
            draft.set(f"{block}.ids", "fairseq")
        return
    if kind not in _TOKENIZERS:
        raise UserError(
            f"--{prefix}tokenizer {kind} has no counterpart. Tokenizers that have one: "
            f"{', '.join(_TOKENIZERS)}, xlmroberta."
        )
    draft.set(f"{block}.type", _TOKENIZERS[kind], origin)
    comment = settings.origin(f"{prefix}vocab_path")
    if vocab is None:
        comment = f"a placeholder: no line has --{prefix}vocab_path"
    draft.set(f"{block}.vocab", vocab or PLACEHOLDER_VOCABULARY, comment)
    if kind == "bpe":
        merges = settings.get(f"{prefix}merges_path")
        comment = settings.origin(f"{prefix}merges_path")
        if merges is None:
            comment = f"a placeholder: no line has --{prefix}merges_path"
        draft.set(f"{block}.merges", merges or "merges.txt", comment)
    lower = f"{prefix}do_lower_case"
    if kind == "bert":
        draft.set(
            f"{block}.lowercase", settings.get(lower).lower() == "true", settings.origin(lower)
        )
    else:
        draft.set(f"{block}.lowercase", False, f"as UER-py's tokenizer {kind}")


def _set_data(draft: Draft, settings: UerSettings, layout: str) -> None:
    corpus = settings.preprocess.get("corpus_path")
    comment = (
        "--corpus_path" if corpus else "a placeholder: no line of preprocess.py names a corpus"
    )
    draft.set("data.corpus", corpus or PLACEHOLDER_CORPUS, comment)
    draft.set("data.layout", layout)
    store = re.sub(r"\.pt$", "", settings.get("dataset_path"))
    draft.set("data.store", store, f"{settings.origin('dataset_path')}; a folder here")
    draft.set("data.held_out", 0.0, "UER-py holds nothing out; 0.01 would evaluate on 1 %")
    for name in ("seq_length", "tgt_seq_length"):
        if name == "seq_length" or settings.objective in WITH_DECODER:
            _copy(draft, settings, name)
    draft.set("data.packing", False, "as UER-py; true is faster: short examples share a row")
    if settings.get("whole_word_masking"):
        kind = "space" if settings.get("tokenizer") == "space" else "jieba"
        draft.set("data.segmenter", {"type": kind}, settings.origin("whole_word_masking"))
    _copy(draft, settings, "processes_num")
    if settings.objective == "seq2seq":
        _set_tokenizer(draft, settings, "target_tokenizer", prefix="tgt_")


def _set_optimizer(draft: Draft, settings: UerSettings) -> None:
    kind, origin = settings.get("optimizer"), settings.origin("optimizer")
    draft.set("optimizer.type", kind, origin)
    _copy(draft, settings, "learning_rate")
    if kind == "adafactor":
        draft.set("optimizer.relative_step", False)
        draft.set("optimizer.scale_parameter", False)
    else:
        for name in ("beta1", "beta2"):
            if settings.given(name):
                _copy(draft, settings, name)
        draft.set("optimizer.epsilon", _ADAM_EPSILON, "as UER-py's AdamW")
    draft.set("optimizer.weight_decay", 0.01, f"as UER-py's {kind}")
    scheduler = settings.get("scheduler")
    draft.set("schedule.type", _SCHEDULES[scheduler] or scheduler, settings.origin("scheduler"))
    if scheduler != "constant":
        _copy(draft, settings, "warmup")
    if scheduler == "tri_stage":
        draft.set("schedule.decay", settings.get("lr_decay"), settings.origin("lr_decay"))
        draft.note(
            settings.written("scheduler"),
            "`wsd` has the same three stages, but its decay is not exponential",
        )
    elif settings.given("lr_decay"):
        draft.note(settings.written("lr_decay"), "it is an option of --scheduler tri_stage")


def _set_train(draft: Draft, settings: UerSettings, ranks: Ranks) -> None:
    if "epochs_num" in settings.pretrain.table:
        _copy(draft, settings, "epochs_num")
    else:
        _set_steps(draft, settings)
    batch, accumulated = settings.get("batch_size"), settings.get("accumulation_steps")
    stages = settings.get("pipeline_model_parallel_size")
    if stages < 1 or ranks.world_size % stages:
        raise UserError(
            f"{settings.written('pipeline_model_parallel_size')}: {ranks.world_size} ranks "
            f"(--world_size) do not divide evenly into {stages} stages."
        )
    parallel = ranks.world_size // stages
    product = f"--batch_size {batch} x {parallel} ranks x --accumulation_steps {accumulated}"
    draft.set("train.global_batch_size", batch * parallel * accumulated, product)
    draft.set("train.micro_batch_size", batch, settings.origin("batch_size"))
    draft.set("train.gradient_clipping", 0.0, "UER-py does not clip")


def _set_steps(draft: Draft, settings: UerSettings) -> None:
    """Set the length of a pretraining and its checkpoints, which UER-py counts in steps."""
    _copy(draft, settings, "total_steps")
    every = settings.get("save_checkpoint_steps")
    draft.set("checkpoint.every", every, settings.origin("save_checkpoint_steps"))
    draft.set("checkpoint.keep_every", every, "UER-py keeps every checkpoint")


def _add_notes(draft: Draft, settings: UerSettings) -> None:
    """Note the options without counterpart, and those without effect on this objective."""
    for line in (settings.preprocess, settings.pretrain):
        for written, why in line.without_counterpart():
            draft.note(written, why)
    for key in unknown_keys(settings.config, settings.pretrain.table):
        draft.note(f"{key} in {settings.config_path}", "the key is not an option of UER-py")
    for name, option in settings.pretrain.table.items():
        if option.why and name in settings.config and settings.config[name]:
            draft.note(f"{name} in {settings.config_path}", option.why)
    without_effect: dict[str, tuple[str, ...]] = {}
    if settings.objective not in WITH_DECODER:
        without_effect["has no decoder"] = ("tgt_seq_length", *_DECODER_OPTIONS)
    if settings.objective != "seq2seq":
        without_effect["has no second tokenizer"] = _TARGET_TOKENIZER
    for reason, names in without_effect.items():
        for name in names:
            if settings.given(name):
                draft.note(settings.written(name), f"{settings.objective} {reason}")
    if settings.preprocess.has("seed") and settings.pretrain.has("seed"):
        first, second = settings.preprocess.get("seed"), settings.pretrain.get("seed")
        if first != second:
            draft.note(settings.preprocess.written["seed"], f"one seed: pretrain.py has {second}")


def runs_folder(output: str) -> str:
    """The folder of an output, or `runs` for an output in the current folder."""
    folder = str(PurePosixPath(output.replace("\\", "/")).parent)
    return "runs" if folder == "." else folder


def run_stem(output: str) -> str:
    """The file name of an output without the suffix of weights and the step."""
    return re.sub(r"\.(bin|pt)(-\d+)?$", "", PurePosixPath(output.replace("\\", "/")).name)


def set_name(draft: Draft, name: str, wanted: str, origin: str) -> None:
    """Set `name`; note it if characters of the name `wanted` on the line had to be replaced."""
    draft.set("name", name, origin)
    if not _NAME.fullmatch(wanted):
        draft.set("name", name, f"{origin}; replaces {json.dumps(wanted, ensure_ascii=False)}")
        draft.note(
            f"the name {wanted} of {origin}",
            f"the run is called {name}, because names of runs have only ASCII letters, digits, "
            "dots, hyphens and underscores",
        )


def run_name(output: str, taken: set[str]) -> str:
    """A valid name of a run from the path of its output, different from those `taken`."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", run_stem(output)).strip("-.")
    name = base = plain if plain and plain[0].isalnum() else f"model-{plain}".strip("-")
    number = 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    taken.add(name)
    return name
