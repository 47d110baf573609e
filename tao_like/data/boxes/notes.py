"""What a reader of labels noticed on the way, for the check of the data and for `init`."""

from __future__ import annotations

from collections.abc import Iterable

from tao_like.data.checks.findings import Finding, Level


class Notes:
    """Findings, gathered by what they say: a reader adds file by file, and each kind becomes one finding."""

    def __init__(self) -> None:
        self._found: dict[tuple[Level, str, str], list[str]] = {}

    def add(self, level: Level, code: str, message: str, files: Iterable[object] = ()) -> None:
        """Takes a finding.

        Args:
            level: ``warning`` or ``info``; what stops a training is raised as an error instead.
            code: what kind of thing it is, for programs.
            message: for users; ``{count}`` stands for the number of files.
            files: that it is about.
        """
        self._found.setdefault((level, code, message), []).extend(map(str, files))

    def findings(self) -> list[Finding]:
        """All findings, in the order in which they came up."""
        return [
            Finding(level, code, message.replace("{count}", str(len(files))), tuple(files))
            for (level, code, message), files in self._found.items()
        ]
