"""Takes outputs, counters and Jupyter's own notes out of the notebooks, so that a change can be read.

    python .ci/clean_notebooks.py        # after a notebook was edited in Jupyter

Run without anything installed. The tests hold that every notebook is as this script writes it.
"""

from __future__ import annotations

import json
from pathlib import Path

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def cleaned(text: str) -> str:
    """The notebook as it is kept in the repository: sources and names of the cells alone."""
    content = json.loads(text)
    cells = []
    for cell in content["cells"]:
        kept = {"cell_type": cell["cell_type"], "id": cell["id"], "metadata": {}}
        if cell["cell_type"] == "code":
            kept |= {"execution_count": None, "outputs": []}
        source = cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
        kept["source"] = source.splitlines(keepends=True)
        cells.append(dict(sorted(kept.items())))
    whole = {"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        path.write_text(cleaned(path.read_text("utf-8")), encoding="utf-8")
