"""The errors that users see: one small tree, each with the exit code of its kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, in parts that a program can use.

    Attributes:
        key: dotted spec key as it was written; empty where no key is to blame.
        file: file that holds the mistake, ``command line`` or ``spec``; empty where there is none.
        line: line in ``file``, from 1; 0 where it is not known.
        text: what is wrong and what to do, without key, file and line in front.
    """

    key: str
    file: str
    line: int
    text: str

    def __str__(self) -> str:
        location = f"{self.file}:{self.line}" if self.line else self.file
        text = f"{self.key}: {self.text}" if self.key else self.text
        return f"{location}  {text}" if location else text


class TaoLikeError(Exception):
    """Something went wrong that a user can act on.

    The message says what was given, the rule that it broke and what to do next. The command line
    prints the message alone; ``--debug`` adds the traceback.

    Args:
        message: what users read.
        problems: the same in parts; left out, the message is the one problem.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str = "", *, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self._problems = list(problems)

    @property
    def problems(self) -> list[Problem]:
        """All that is wrong, one by one; the message itself where nobody has told it in parts."""
        return list(self._problems) or [Problem("", "", 0, str(self))]


class SpecError(TaoLikeError):
    """The spec file, an override or the command line is wrong."""

    exit_code = 2


class DatasetError(TaoLikeError):
    """The data cannot be used as it is."""

    exit_code = 2


class BundleError(TaoLikeError):
    """A bundle, checkpoint or ONNX file cannot be used as it is."""

    exit_code = 2


class ConversionError(TaoLikeError):
    """A model cannot be converted, or does not give the outputs of the model that it came from."""

    exit_code = 1
