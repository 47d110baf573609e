"""The error of a file that cannot be used, whatever there might be to convert in it."""

from __future__ import annotations

from tao_like.errors import BundleError, ConversionError


class UnreadableModelError(BundleError, ConversionError):
    """The file itself cannot be used."""

    exit_code = 2
