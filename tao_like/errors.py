"""The errors that users see: one small tree, each with the exit code of its kind."""

from __future__ import annotations

from typing import ClassVar


class TaoLikeError(Exception):
    """Something went wrong that a user can act on.

    The message says what was given, the rule that it broke and what to do next. The command line
    prints the message alone; ``--debug`` adds the traceback.
    """

    exit_code: ClassVar[int] = 1


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
    """A model cannot be converted, or does not give the answers of the model that it came from."""

    exit_code = 1
