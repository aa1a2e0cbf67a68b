"""Which `tokenizer_class` of transformers follows the files of its folder alone.

A class with Python code of its own cuts text in ways that no file describes, so importing its
vocabulary would give other ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptm.errors import UserError

GENERIC = ("PreTrainedTokenizer", "TokenizersBackend")
"""Classes without rules of their own: they run tokenizer.json as it is."""
# Classes of transformers that run Python code, whether or not a tokenizer.json is there.
# RoFormer's tokenizer.json has BERT's splitting in place of its jieba.
_PYTHON = (
    "Bartpho", "BertGeneration", "BertJapanese", "BertTokenizerLegacy", "Bertweet", "BioGpt",
    "BlenderbotSmall", "ByT5", "CTRL", "Canine", "Clvp", "CpmAnt", "Cpm", "Dia", "Esm",
    "FSMT", "FastSpeech2Conformer", "Flaubert", "GPTNeoXJapanese", "GPTSw3", "M2M100",
    "Marian", "Mgpstr", "MyT5", "PLBart", "Perceiver", "Phobert", "Pop2Piano", "ProphetNet",
    "RoCBert", "RoFormer", "Siglip", "Speech2Text", "SpeechT5", "Tapas", "Vits",
    "Wav2Vec2CTC", "Wav2Vec2PhonemeCTC", "XLM",
)  # fmt: skip
# Classes whose rules follow from the vocabulary files and a few options, without a tokenizer.json.
_FROM_FILES: Mapping[str, tuple[str, ...]] = {
    "wordpiece": (
        "Bert", "ConvBert", "DPRContextEncoder", "DPRQuestionEncoder", "DPRReader",
        "DistilBert", "Electra", "Ernie", "Funnel", "LayoutLM", "Lxmert", "MPNet",
        "MegatronBert", "MobileBert", "RetriBert", "SqueezeBert",
    ),
    "bpe": (
        "Bart", "Blenderbot", "CodeGen", "Deberta", "GPT2", "LED", "Longformer", "MVP",
        "Roberta",
    ),
    "sentencepiece": ("CodeLlama", "Llama", "MT5", "Pegasus", "T5", "XLMRoberta"),
}  # fmt: skip
# The classes that AutoTokenizer takes for a model_type with a SentencePiece model, where they are
# not in `_FROM_FILES`.
_OF_MODEL_TYPES: Mapping[str, str] = {
    "albert": "AlbertTokenizer",
    "big_bird": "BigBirdTokenizer",
    "camembert": "CamembertTokenizer",
    "deberta-v2": "DebertaV2Tokenizer",
    "mbart": "MBartTokenizer",
    "xlnet": "XLNetTokenizer",
}


def tokenizer_class(settings: Mapping[str, Any], config: Mapping[str, Any]) -> str | None:
    """The name of the class without `Fast`; None if the folder does not name it."""
    named = settings.get("tokenizer_class") or config.get("tokenizer_class")
    return str(named).removesuffix("Fast") if named else None


def check_class(
    folder: Path,
    settings: Mapping[str, Any],
    config: Mapping[str, Any],
    *,
    kind: str | None,
    has_pipeline: bool,
) -> None:
    """Raise UserError if the folder's files do not decide how its class tokenises.

    `settings`, `config`: contents of tokenizer_config.json and config.json. `kind`: the type of
    the vocabulary files. `has_pipeline`: whether there is a tokenizer.json.
    """
    for content in (settings, config):
        custom = (content.get("auto_map") or {}).get("AutoTokenizer")
        if custom:
            raise UserError(
                f"{folder}: the tokenizer is Python code of the model's own (auto_map: "
                f"{custom}), which is not run, so token ids could differ."
            )
    name = tokenizer_class(settings, config)
    if name is None and kind in (None, "sentencepiece"):
        # Chinese ALBERTs, for instance, have a vocab.txt and BERT's tokenizer.
        name = _OF_MODEL_TYPES.get(str(config.get("model_type")))
    if name is None or name in GENERIC:
        return
    short = name.removesuffix("Tokenizer")
    if short in _PYTHON:
        raise UserError(
            f"{folder}: the tokenizer class {name} cuts text with Python code of its own, which "
            "is not run, so token ids would differ."
        )
    if kind is not None and not has_pipeline and short not in _FROM_FILES.get(kind, ()):
        raise UserError(
            f"{folder}: the rules of the tokenizer class {name} are not known from its "
            "vocabulary files, so token ids could differ. Put its tokenizer.json into the folder: "
            "load the tokenizer with AutoTokenizer and call save_pretrained."
        )
