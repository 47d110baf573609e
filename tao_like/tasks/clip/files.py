"""Files that an inference leaves beside its rows: embeddings, a search, an attack with written words."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from tao_like.contract.sample import Sample
from tao_like.data.checks.contact_sheet import Tile, contact_sheet, in_rows
from tao_like.errors import SpecError
from tao_like.plots.palette import RIGHT, WRONG
from tao_like.plots.similarity import draw_similarity
from tao_like.plots.text import load_font
from tao_like.runtime.inputs.image import preprocess
from tao_like.runtime.predictions.embedding import class_probabilities
from tao_like.tasks.clip.data.data import PairData
from tao_like.tasks.clip.spec_stages import ClipInferenceSpec
from tao_like.tasks.clip.zero_shot import IMAGE_EMBEDDING, ClassTexts, PairPrediction, Run, embed_texts
from tao_like.tasks.common.image_input import IMAGE
from tao_like.tracking.files import csv_cell

_SHOWN = 24
_THUMBNAIL = 336
_MOST_COLUMNS = 40
_WRITTEN_SIDE, _SMALLEST_FONT = 224, 8


@dataclass
class FileRecord:
    """What is kept of a sample: name, embedding, and a small image of the first ones or the best."""

    key: str
    embedding: np.ndarray
    cosines: np.ndarray | None
    thumbnail: Image.Image | None


class InferenceFiles:
    """Makes them.

    Args:
        spec: of the inference.
        classes: that are asked about, embedded.
        data: preprocesses images and texts.
        run: the engine.
    """

    def __init__(self, spec: ClipInferenceSpec, classes: ClassTexts, data: PairData, run: Run) -> None:
        self.spec = spec
        self.classes = classes
        self.data = data
        self.run = run
        self.notes: list[str] = []
        self._query: np.ndarray | None = None
        self._best: list[float] = []
        if spec.output == "search":
            self._query = embed_texts(run, data.tokenizer, [spec.query])[0][0]
        if spec.output == "attack" and len(classes.names) < 2:
            raise SpecError("inference.output=attack needs inference.classes, two or more")
        self._count = 0

    def record(self, sample: Sample, prediction: PairPrediction) -> FileRecord:
        """What is kept of a sample. A thumbnail is kept while it may be shown."""
        assert prediction.image is not None
        self._count += 1
        shown = self._count <= _SHOWN
        if self._query is not None:
            self._best = sorted([*self._best, float(prediction.image @ self._query)], reverse=True)[:_SHOWN]
            shown = float(prediction.image @ self._query) >= self._best[-1]
        thumbnail = None
        if shown:
            thumbnail = sample.data[IMAGE].convert("RGB")
            thumbnail.thumbnail((_THUMBNAIL, _THUMBNAIL))
        return FileRecord(sample.key, prediction.image, prediction.cosines, thumbnail)

    def files(self, records: Sequence[FileRecord]) -> dict[str, str | bytes]:
        """Path below the stage's folder to content."""
        if not records:
            return {}
        found: dict[str, str | bytes] = {}
        shown = [record for record in records if record.cosines is not None][:_SHOWN]
        if shown and len(self.classes.names) <= _MOST_COLUMNS:
            cosines = np.stack([record.cosines for record in shown])  # type: ignore[misc]
            names = [Path(record.key).name for record in shown]
            found["similarity.png"] = _png(draw_similarity(cosines, names, self.classes.names))
        if self.spec.output == "embeddings":
            found["embeddings.npz"] = self._embeddings(records)
        if self._query is not None:
            found |= self._search(records, self._query)
        if self.spec.output == "attack":
            found["attack.png"] = _png(self._attack(records))
        return found

    def _embeddings(self, records: Sequence[FileRecord]) -> bytes:
        """All vectors with the names of the images and the classes; no pickles inside."""
        buffer = io.BytesIO()
        arrays = {
            "paths": np.array([record.key for record in records], dtype=np.str_),
            "image_embeddings": np.stack([record.embedding for record in records]),
            "classes": np.array(self.classes.names, dtype=np.str_),
        }
        if self.classes.embeddings is not None:
            arrays["class_embeddings"] = self.classes.embeddings
        np.savez(buffer, allow_pickle=False, **arrays)
        self.notes.append("embeddings.npz: paths, image_embeddings, classes, class_embeddings")
        return buffer.getvalue()

    def _search(self, records: Sequence[FileRecord], query: np.ndarray) -> dict[str, str | bytes]:
        scores = np.array([float(record.embedding @ query) for record in records])
        order = np.argsort(-scores, kind="stable")
        table = io.StringIO()
        writer = csv.writer(table)
        writer.writerow(["rank", "path", "similarity"])
        for rank, number in enumerate(order, 1):
            writer.writerow([rank, csv_cell(records[number].key), f"{scores[number]:.6f}"])
        tiles = [
            Tile(thumbnail, f"{rank}. {scores[number]:.3f}\n{Path(records[number].key).name}")
            for rank, number in enumerate(order[:_SHOWN], 1)
            if (thumbnail := records[number].thumbnail) is not None
        ]
        sheet = contact_sheet(in_rows(tiles), title=f"“{self.spec.query}”")
        self.notes.append(
            f"nearest to “{self.spec.query}”: {Path(records[order[0]].key).name} "
            f"({scores[order[0]]:.3f}); search.csv and search.png have the rest"
        )
        return {"search.csv": table.getvalue(), "search.png": _png(sheet)}

    def _attack(self, records: Sequence[FileRecord]) -> Image.Image:
        """Each image as it is, and with a wrong class's name written on it; the scores of both.

        Goh et al. 2021, "Multimodal Neurons in Artificial Neural Networks": CLIP reads what is written.
        """
        rows, fooled = [], 0
        shown = [record for record in records if record.thumbnail is not None]
        for record in shown:
            assert record.thumbnail is not None
            assert record.cosines is not None
            before = self._probabilities(record.cosines)
            own = int(before.argmax())
            wrong = (own + 1) % len(self.classes.names)
            written = write_word(record.thumbnail, self.classes.names[wrong])
            pixels = preprocess(written, self.data.preprocessing)[None]
            cosines = self.classes.cosines(self.run({IMAGE: pixels})[IMAGE_EMBEDDING])
            assert cosines is not None
            after = self._probabilities(cosines[0])
            fooled += int(after.argmax()) == wrong
            rows.append(
                [
                    Tile(record.thumbnail, self._two(before, own, wrong)),
                    Tile(written, self._two(after, own, wrong), WRONG if after.argmax() == wrong else RIGHT),
                ]
            )
        self.notes.append(
            f"{fooled} of {len(shown)} images are taken for the word written on them: attack.png"
        )
        pairs = [[*first, *second] for first, second in zip(rows[::2], [*rows[1::2], []], strict=False)]
        return contact_sheet(pairs, title="Images, and the same with a word on them")

    def _probabilities(self, cosines: np.ndarray) -> np.ndarray:
        scale, bias = self.classes.scale, self.classes.bias
        return class_probabilities(cosines[None], scale, bias, one_applies=True)[0]

    def _two(self, probabilities: np.ndarray, own: int, wrong: int) -> str:
        names = self.classes.names
        return f"{names[own]} {probabilities[own]:.2f}\n{names[wrong]} {probabilities[wrong]:.2f}"


def write_word(image: Image.Image, word: str) -> Image.Image:
    """The image with a white label in its middle that bears a word."""
    # Small images are enlarged first, or the word would be a few dots.
    factor = max(1, _WRITTEN_SIDE // max(image.size))
    written = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    image = written
    pen = ImageDraw.Draw(written)
    size = image.height // 5
    font = load_font(size, word)
    while size > _SMALLEST_FONT and pen.textlength(word, font=font) > 0.85 * image.width:
        size -= 1
        font = load_font(size, word)
    box = pen.textbbox((0, 0), word, font=font)
    width, height = box[2] - box[0], box[3] - box[1]
    left, top = (image.width - width) // 2, (image.height - height) // 2
    margin = max(2, height // 4)
    pen.rectangle((left - margin, top - margin, left + width + margin, top + height + margin), fill="white")
    pen.text((left - box[0], top - box[1]), word, fill="black", font=font)
    return written


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
