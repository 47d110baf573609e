"""``python -m tao_like.cli``: the command line where the script is not on the path."""

from __future__ import annotations

from tao_like.cli.main import main

main()
