"""rjieba: jieba's algorithm in Rust, about twenty times as fast, without user dictionaries."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator

from ptm.errors import UserError
from ptm.text.segmenters.base import Segmenter, SegmentFunction


class RJieba(Segmenter):
    """rjieba; differs from jieba only inside Latin strings such as `book.example.com`."""

    CUTS_AT_NEWLINES: ClassVar[bool] = True

    type: Literal["rjieba"]

    @model_validator(mode="after")
    def _no_dictionary(self) -> RJieba:
        if self.dictionary is not None:
            raise ValueError(
                "rjieba supports no user dictionary. Remove dictionary or set type: jieba."
            )
        return self

    def load(self) -> SegmentFunction:
        try:
            import rjieba
        except ImportError as error:
            raise UserError(
                "data.segmenter.type: rjieba needs the package rjieba. Install it with `pip "
                "install rjieba`, or set data.segmenter.type: jieba."
            ) from error
        cut: SegmentFunction = rjieba.cut
        return cut
