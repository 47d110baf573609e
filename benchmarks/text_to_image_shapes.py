"""DALL-E, GLIDE and unCLIP on drawn shapes: what the shipped specs reach by attribute, and its cost.

    python benchmarks/text_to_image_shapes.py --arch dalle --seeds 1
    python benchmarks/text_to_image_shapes.py --arch glide --seeds 1 train.num_epochs=40

Data: the sample shapes_captions (seed 0). Pairs of color and shape of the group `held_out` are in no training
file. The judge is that of `evaluate`: nearest real images, no training. One row a seed is added to the CSV.
CPU seconds are those of the process and its children, wall seconds those of the clock: on a machine that
others use too, the latter say little.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tao_like
from tao_like import runtime
from tao_like.config.shipped import shipped_spec_files
from tao_like.runtime.generation.base import Noise
from tao_like.samples.shapes_captions import HELD_OUT, write_shapes_captions
from tao_like.stages.results import EvaluateResult, ExportResult, TrainResult
from tao_like.tasks.text_to_image.judge import Judge, words_of

RESULTS = Path(__file__).with_suffix(".csv")
ATTRIBUTES = ("shape", "color", "size", "place")
CLIP_SCALES = (0, 1, 3)
PAINTED = 60
"""Images whose middle part is painted anew."""


def cpu_seconds() -> float:
    """Of this process and of those that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def run(arch: str, seed: int, folder: Path, overrides: list[str]) -> dict[str, Any]:
    """Trains, scores and exports once; the row of the CSV."""
    data = write_shapes_captions(folder / "shapes")
    spec = shipped_spec_files()[f"text_to_image/shapes_{arch}"]
    words = [
        f"dataset.{split}_dataset.captions_file={data / split}.jsonl" for split in ("train", "val", "test")
    ]
    words += [f"results_dir={folder / arch / str(seed)}", f"train.seed={seed}", "train.accelerator=cpu"]
    words += ["train.tensorboard.enabled=false", *overrides]

    def stage(name: str, *more: str) -> Any:
        return tao_like.run("text_to_image", name, spec, [*words, *more], quiet=True)

    before, began = cpu_seconds(), time.monotonic()
    trained: TrainResult = stage("train")
    row: dict[str, Any] = {
        "arch": arch,
        "seed": seed,
        "settings": " ".join(overrides),
        "parameters": trained.report["parameters"],
        "train_cpu_s": round(cpu_seconds() - before),
        "train_wall_s": round(time.monotonic() - began),
    }
    if arch == "dalle":
        first = trained.report["phases"][0]["metrics"]
        row |= {f"dvae_{name}": round(first[name], 3) for name in ("psnr", "codes_used", "accuracy", "shape")}
    if arch == "unclip":
        for phase in trained.report["phases"][:2]:
            names = ("recall_at_1", "cosine", "text_cosine")
            values = {name: phase["metrics"][name] for name in names if name in phase["metrics"]}
            row |= {f"{phase['phase']}_{name}": round(value, 3) for name, value in values.items()}
    sweep = ["evaluate.guidance=[0,1,3]" if arch == "glide" else "evaluate.guidance=[1,3]"]
    if arch == "unclip":
        sweep.append("evaluate.conditions=[text,caption]")
    scored: EvaluateResult = stage("evaluate", *sweep)
    groups = scored.report["details"]["groups"]
    for group in ("trained", "held_out"):
        values = groups[group]
        row |= {f"{group}_{name}": round(values[name], 3) for name in ("accuracy", *ATTRIBUTES, "all_right")}
    for name in ("caption_swap", "caption_chance", "diversity", "ffd"):
        row[name] = round(scored.metrics[name], 3)
    for name, values in scored.report["variants"].items():
        row[name] = round(values["accuracy"], 3)
    if "model.glide.noised_clip.enable=true" in overrides:
        row |= clip_guided(stage)
    exported: ExportResult = stage("export")
    row["export_difference"] = f"{exported.difference:.1e}"
    model = runtime.load(exported.onnx_file)
    began = time.process_time()
    model.generate(["a small red circle in the middle"] * 4)
    row["runtime_cpu_s_a_picture"] = round((time.process_time() - began) / 4, 3)
    if arch == "glide":
        row |= painted(model, data)
    if arch == "unclip":
        row |= embedded(model, data)
    return row


def clip_guided(stage: Callable[..., Any]) -> dict[str, float]:
    """The accuracy by scales of guidance by a noised CLIP, without and with the caption.

    Args:
        stage: runs one, with overrides.
    """
    row = {}
    scales = ",".join(map(str, CLIP_SCALES))
    for scale in (0, 1):
        more = (f"sampling.guidance_scale={scale}", f"evaluate.clip_guidance=[{scales}]")
        found: EvaluateResult = stage("evaluate", *more)
        row |= {
            f"guidance_{scale}_{name}": round(values["accuracy"], 3)
            for name, values in found.report["variants"].items()
        }
    return row


ATTRIBUTE_WORDS = {
    "shape": ["circle", "square", "triangle", "cross"],
    "color": ["red", "green", "blue", "yellow", "purple", "cyan"],
    "size": ["small", "large"],
    "place": ["top left", "top right", "middle", "bottom left", "bottom right"],
}


def judge_of(data: Path) -> Judge:
    """The judge of `evaluate`."""
    lines = read_lines(data, "train")
    return Judge(read_images(data, lines), [line["captions"][0] for line in lines], ATTRIBUTE_WORDS)


def read_lines(data: Path, split: str) -> list[dict[str, Any]]:
    """The lines of a split."""
    return [json.loads(line) for line in (data / f"{split}.jsonl").read_text().splitlines()]


def read_images(data: Path, lines: list[dict[str, Any]]) -> Any:
    """Their images, (N, H, W, 3) uint8."""
    from PIL import Image

    return np.stack([np.asarray(Image.open(data / line["image"])) for line in lines])


def embedded(model: Any, data: Path) -> dict[str, float]:
    """What stands between caption and image, by the exported graphs alone.

    The prior's embeddings against those of real images, beside anchors (the captions' own, the mean of the
    training's images of the same caption, and for held-out pairs the best linear maps from the captions' and
    from words that hear nothing of their neighbors); the decoder from true embeddings; images turned back to
    noise and made again; red circles on the way to blue.
    """
    row: dict[str, float] = {}
    judge = judge_of(data)
    lines = read_lines(data, "test")
    images = read_images(data, lines)
    captions = [line["captions"][0] for line in lines]
    train = read_lines(data, "train")
    real, known = image_embeddings(model, images), image_embeddings(model, read_images(data, train))
    text = tokens(model, captions)
    words = model.run("text_encoder", {"text": text})
    without = model.run("text_encoder", {"text": np.zeros_like(text)})
    noise = Noise(np.arange(len(lines)))
    call = lambda name, values: model.run(name, values)  # noqa: E731
    drawn = model.generator.drawn(call, words, without, noise)
    of_caption = [line["captions"][0] for line in train]
    for group in ("trained", "held_out"):
        chosen = [number for number, line in enumerate(lines) if line["group"] == group]
        cosines = (drawn * real).sum(axis=1)[chosen]
        row[f"prior_{group}"] = float(cosines.mean())
        row[f"prior_text_{group}"] = float((words["text_embedding"] * real).sum(axis=1)[chosen].mean())
        if group == "trained":
            means = np.stack([known[[one == captions[n] for one in of_caption]].mean(axis=0) for n in chosen])
            means /= np.linalg.norm(means, axis=1, keepdims=True)
            row["prior_class_mean_trained"] = float((means * real[chosen]).sum(axis=1).mean())
        else:
            sources = {
                "linear": (text_embeddings(model, of_caption), words["text_embedding"][chosen]),
                "words": (heard_words(of_caption), heard_words([captions[n] for n in chosen])),
            }
            for name, (given, asked) in sources.items():
                row[f"prior_{name}_held_out"] = mapped_cosine(given, known, asked, real[chosen])
    made = decoded(model, real, without)
    row["decoded_accuracy"] = accuracy(judge, made, captions)
    row["decoded_cosine"] = float((image_embeddings(model, made) * real).sum(axis=1).mean())
    again = [model.generate("", seed=0, image=one, guidance_scale=1.0, eta=0.0) for one in images[:20]]
    errors = [
        np.mean((one.pixels / 255.0 - real / 255.0) ** 2)
        for one, real in zip(again, images[:20], strict=True)
    ]
    row["inverted_psnr"] = float(np.mean([-10 * np.log10(error) for error in errors]))
    return {name: round(value, 3) for name, value in (row | turned(model, judge, lines, images)).items()}


def tokens(model: Any, captions: list[str]) -> Any:
    """Of captions, (N, T)."""
    return np.concatenate([model.prepare({"text": one, "seed": 0})["text"][None] for one in captions])


def text_embeddings(model: Any, captions: list[str]) -> Any:
    """Of captions, (N, D)."""
    return model.run("text_encoder", {"text": tokens(model, captions)})["text_embedding"]


def heard_words(captions: list[str]) -> Any:
    """Which of the attributes' words captions have, (N, W)."""
    words = [word for some in ATTRIBUTE_WORDS.values() for word in some]
    return np.array([[float(word in caption) for word in words] for caption in captions])


def mapped_cosine(given: Any, known: Any, asked: Any, real: Any, ridge: float = 1e-3) -> float:
    """How near the best linear map to known embeddings comes to real ones that it has not seen.

    A bound for a prior that knows no more than what is given: of captions' embeddings (N, D), or of words.
    """
    ones = [np.concatenate([one, np.ones((len(one), 1))], axis=1) for one in (given, asked)]
    square = ones[0].T @ ones[0] + ridge * len(given) * np.eye(ones[0].shape[1])
    found = ones[1] @ np.linalg.solve(square, ones[0].T @ known)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return float((found * real).sum(axis=1).mean())


def image_embeddings(model: Any, images: Any) -> Any:
    """Of images (N, H, W, 3) uint8, (N, D)."""
    pixels = np.ascontiguousarray((images.astype(np.float32) / 255).transpose(0, 3, 1, 2))
    return model.run("image_encoder", {"pixels": pixels})["image_embedding"]


def decoded(model: Any, image: Any, without: Any) -> Any:
    """Images (N, H, W, 3) uint8 of embeddings, without captions."""
    generator = model.generator
    noise = Noise(np.arange(len(image)))
    blank = {name: without[name] for name in ("text_embedding", "tokens")}
    heard, nothing = ({"image_embedding": one, **blank} for one in (image, np.zeros_like(image)))
    scale = generator.decoder.guidance_scale
    both = {name: np.concatenate([heard[name], nothing[name]]) for name in heard} if scale != 1 else heard
    x = noise.normal((3, generator.decoder.height, generator.decoder.width))
    found = generator.decoder.denoise(lambda name, values: model.run(name, values), x, both, noise)
    return (((found + 1) / 2).clip(0, 1) * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)


def accuracy(judge: Judge, images: Any, captions: list[str]) -> float:
    """The mean of all attributes."""
    found = judge(images)
    right = [
        look[name] == word
        for look, caption in zip(found, captions, strict=True)
        for name, word in words_of(caption, ATTRIBUTE_WORDS).items()
    ]
    return float(np.mean(right))


def turned(model: Any, judge: Judge, lines: list[dict[str, Any]], images: Any) -> dict[str, float]:
    """Red images led to blue by the difference of two captions: how many turn, and keep their shape.

    The captions are the image's own and the same with another color; guidance is the model's. Red triangles
    and blue circles are never trained, so figures of the rest stand apart (``turned_trained``).
    """
    red = [number for number, line in enumerate(lines) if line["label"].startswith("red ")][:40]
    looks = []
    for number in red:
        shape, caption = lines[number]["label"].split()[1], lines[number]["captions"][0]
        made = model.generate(caption.replace("red", "blue"), image=images[number], caption=caption, frames=1)
        looks.append((judge(made.pixels[None])[0], shape))
    blue = np.array([one["color"] == "blue" for one, _ in looks])
    kept = np.array([one["shape"] == shape for one, shape in looks])
    pairs = [(("red", shape), ("blue", shape)) for _, shape in looks]
    trained = np.array([not set(ends).intersection(HELD_OUT) for ends in pairs])
    return {
        "turned_blue": float(blue.mean()),
        "turned_shape_kept": float(kept.mean()),
        "turned_trained_blue": float(blue[trained].mean()),
        "turned_trained_shape_kept": float(kept[trained].mean()),
    }


def painted(model: Any, data: Path) -> dict[str, float]:
    """What is painted into a hole in an empty ground: accuracy inside, largest change outside."""
    judge = judge_of(data)
    side = model.generator.height
    ground = np.full((side, side, 3), 128, np.uint8)
    mask = np.zeros((side, side), np.uint8)
    mask[side // 8 : -side // 8, side // 8 : -side // 8] = 255
    tests = read_lines(data, "test")
    captions = sorted({line["captions"][0] for line in tests if "middle" in line["captions"][0]})[:PAINTED]
    made = model.generate(captions, seed=0, image=ground, mask=mask)
    pixels = np.stack([one.pixels for one in made])
    found = judge(pixels)
    right = [
        found[number][name] == word
        for number, caption in enumerate(captions)
        for name, word in words_of(caption, ATTRIBUTE_WORDS).items()
        # The place is that of the hole.
        if name != "place"
    ]
    outside = np.abs(pixels.astype(int) - 128)[:, mask == 0].max()
    return {"painted_accuracy": round(float(np.mean(right)), 3), "painted_outside": float(outside)}


def add(row: dict[str, Any]) -> None:
    """Adds a row to the CSV, whose columns grow with it."""
    rows: list[dict[str, Any]] = []
    if RESULTS.is_file():
        with RESULTS.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    rows.append(row)
    columns = list(dict.fromkeys(name for one in rows for name in one))
    with RESULTS.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=columns)
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--arch", choices=("dalle", "glide", "unclip"), required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("results/text_to_image_shapes"))
    parser.add_argument("overrides", nargs="*", help="key=value for every stage")
    given = parser.parse_args()
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        row = run(given.arch, seed, given.folder, given.overrides)
        print(json.dumps(row), flush=True)
        add(row)


if __name__ == "__main__":
    main()
