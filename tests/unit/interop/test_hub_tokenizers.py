"""Any tokenizer of the Hub: equal ids through import, store and export, or a refusal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import AddedToken, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerFast

from ptm.components.objectives.masking import AnyMasking
from ptm.errors import EXIT_DONE, UserError
from ptm.interop.hf.io.export import export_to_huggingface
from ptm.interop.hf.io.tokenizer import write_tokenizer
from ptm.interop.import_model import import_from_huggingface
from ptm.interop.sources.open import open_source
from ptm.store.format import TokenStore
from ptm.store.preprocess import Preprocessing, preprocess
from ptm.text.corpus import find_corpus
from ptm.text.segmenters.rjieba import RJieba
from ptm.text.tokenizers import Tokenizer
from ptm.text.tokenizers.bpe import Bpe
from ptm.text.tokenizers.huggingface import HuggingFace
from ptm.text.tokenizers.sentencepiece import SentencePiece
from ptm.text.tokenizers.wordpiece import WordPiece
from tests.support.bert_pairs import TINY, blocks_of, plan_of, random_weights, recipe_of
from tests.support.covers import by_default
from tests.support.hub_tokenizers import KINDS, corpus_lines, drawn_texts, made
