"""The page in Chromium: from a zip of images to a drawn answer, by mouse and keyboard.

Screenshots (light, dark, as wide as a phone) go into the folder that TAO_LIKE_SCREENSHOTS names.
"""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from serving import Served, served
from test_generate import exported, generating_model

from tao_like.service.security import make_token

sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.acceptance

SPEC = """\
model: {backbone: {type: test_resnet, pretrained_backbone_path: null, freeze_backbone: false}}
dataset: {img_size: 32, batch_size: 8, workers: 0}
train:
  num_epochs: EPOCHS
  accelerator: cpu
  tensorboard: {enabled: false}
  optim: {warmup_epochs: 0, lr: LR}
"""
CONTROLS = {"button", "link", "textbox", "searchbox", "combobox", "checkbox", "img", "image", "progressbar"}
CONTROLS |= {"DisclosureTriangle", "table"}
WAIT = 120_000
"""Milliseconds that a job may take."""
DROP = """([zone, name, data]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: "image/png" }));
  const send = (kind) => zone.dispatchEvent(
    new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
  send("dragover");
  send("drop");
}"""
PIXELS = """(image) => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  return [...context.getImageData(0, 0, canvas.width, canvas.height).data];
}"""
WIDEST = """[...document.querySelectorAll("main *")]
  .filter((one) => one.getBoundingClientRect().right > innerWidth)
  .map((one) => one.outerHTML.slice(0, 80)).slice(0, 9)"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip("not installed: chromium")
    with sync_api.sync_playwright() as playwright:
        words = ["--no-sandbox"] if os.getuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=program, args=words)
        yield browser
        browser.close()


@pytest.fixture
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Served]:
    with served(tmp_path / "server", manages=getattr(request, "param", True)) as server:
        yield server


@pytest.fixture
def page(browser: Any, server: Served) -> Iterator[Any]:
    page = browser.new_context(viewport={"width": 1200, "height": 800}).new_page()
    page.set_default_timeout(20_000)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    # A refused request is told there too, and some are meant to be refused here.
    told = re.compile("Failed to load resource: the server responded with a status of 422")

    def hear(said: Any) -> None:
        if said.type == "error" and not told.match(said.text):
            wrong.append(said.text)

    def watch(request: Any) -> None:
        if not request.url.startswith((server.url, "blob:")):
            wrong.append(request.url)

    page.on("console", hear)
    page.on("request", watch)
    yield page
    page.context.close()
    assert not wrong


def look(page: Any, name: str) -> None:
    """What holds for every view: each control has a name, a phone needs no scrolling sideways, one h1."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    seen = [node for node in nodes if not node["ignored"] and node["role"]["value"] in CONTROLS]
    assert len(seen) > 4
    nameless = [node["role"]["value"] for node in seen if not node.get("name", {}).get("value", "").strip()]
    assert not nameless, f"{name}: without a name: {nameless}"
    assert page.locator("h1").count() == 1
    assert not re.search(r"\[object |undefined|NaN", page.locator("main").inner_text())
    folder = os.environ.get("TAO_LIKE_SCREENSHOTS")
    for kind, scheme, width in (("light", "light", 1200), ("dark", "dark", 1200), ("phone", "light", 360)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 800})
        if folder:
            page.screenshot(path=f"{folder}/{name}-{kind}.png", full_page=True)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{name}: {wide} pixels wide of {width}: {page.evaluate(WIDEST)}"
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1200, "height": 800})


def wait_done(page: Any) -> str:
    """The job's number, once it has ended well."""
    status = page.locator(".status").first
    sync_api.expect(status).to_have_text(re.compile("Done|Error|Canceled"), timeout=WAIT)
    assert status.inner_text() == "Done", page.locator("main").inner_text()
    return str(page.url).rpartition("/")[2]


def pictures_are_there(page: Any) -> None:
    # Not wait_for_function: the page's policy forbids to evaluate text.
    loaded = "document.images.length && [...document.images].every((one) => one.naturalWidth)"
    for _ in range(100):
        if page.evaluate(loaded):
            return
        page.wait_for_timeout(100)
    pytest.fail("an image does not load")


def start(page: Any, text: str) -> None:
    page.get_by_role("textbox", name="Spec").fill(text)
    page.get_by_role("button", name="Start").click()
    for _ in range(200):
        if re.search(r"#/jobs/[\w-]+$", page.url):
            return
        page.wait_for_timeout(100)
    pytest.fail("no job begins: " + page.locator("main").inner_text())


def test_from_a_zip_to_a_drawn_answer(page: Any, server: Served, class_folders: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "shapes"), "zip", class_folders)
    page.goto(server.url)
    page.get_by_text("No jobs yet").wait_for()
    look(page, "empty")

    # By the keyboard alone: past the navigation, to the form's file.
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.get_by_role("link", name="Data sets").focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="What there is").wait_for()
    look(page, "datasets")
    page.get_by_label("Task").select_option("classification")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a file").focus()
        page.keyboard.press("Enter")
    chooser.value.set_files(archive)
    page.get_by_role("heading", name="shapes.zip").wait_for()

    page.get_by_role("button", name="Check the data").click()
    page.wait_for_url(re.compile("#/jobs/"))
    wait_done(page)
    page.get_by_role("heading", name="Findings").wait_for()
    page.locator(".gallery img").first.wait_for()
    pictures_are_there(page)
    look(page, "check")
    page.go_back()
    page.get_by_text("Last check:").wait_for()
    pictures_are_there(page)
    look(page, "dataset")

    # The form: a wrong key is shown with its line; then a training, whose curve grows.
    page.get_by_role("link", name="Train ...").click()
    page.get_by_role("textbox", name="Spec").wait_for()
    page.get_by_label("Find a key").fill("num_epochs")
    page.get_by_label("num_epochs").first.wait_for()
    page.get_by_role("textbox", name="Spec").fill("train:\n  num_epoch: 3\n")
    page.get_by_role("button", name="Start").click()
    page.get_by_text("line 2: train.num_epoch").wait_for()
    look(page, "form")
    start(page, SPEC.replace("EPOCHS", "40").replace("LR", "0.01"))
    curve = page.get_by_role("img", name=re.compile("^Loss by epoch"))
    curve.locator("polyline").first.wait_for(timeout=WAIT)
    count = "(one) => one.querySelector('polyline').points.numberOfItems"
    before = curve.evaluate(count)
    look(page, "running")
    first = wait_done(page)
    page.wait_for_timeout(500)
    assert curve.evaluate(count) == 40 > before
    page.get_by_role("heading", name="Metrics", exact=True).wait_for()
    look(page, "trained")

    page.get_by_role("link", name="Export ...").click()
    page.get_by_role("textbox", name="Spec").wait_for()
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile(rf"#/jobs/(?!{first})[\w-]+$"))
    wait_done(page)

    # Another model, and both in one table that sorts.
    page.get_by_role("link", name="Data sets").click()
    page.get_by_role("link", name="shapes.zip").click()
    page.get_by_role("link", name="Train ...").click()
    page.get_by_role("textbox", name="Spec").wait_for()
    start(page, SPEC.replace("EPOCHS", "1").replace("LR", "0.0000001"))
    wait_done(page)
    page.get_by_role("link", name="Models").click()
    boxes = page.get_by_role("checkbox", name=re.compile("train.model.tltb"))
    boxes.nth(1).wait_for()
    boxes.nth(0).check()
    boxes.nth(1).check()
    look(page, "models")
    page.get_by_role("button", name="Compare the chosen ones").click()
    page.get_by_text("classification compare").first.wait_for()
    wait_done(page)
    table = page.get_by_role("table", name="Comparison")
    table.wait_for()
    look(page, "comparison")
    head = table.get_by_role("columnheader", name=re.compile("accuracy")).first
    column = head.evaluate("(one) => [...one.parentNode.children].indexOf(one)")
    head.get_by_role("button").focus()
    found = []
    for direction in ("descending", "ascending"):
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == direction
        cells = table.locator(f"tbody tr td:nth-child({column + 1})").all_inner_texts()
        found.append([float(cell) for cell in cells])
    assert found[0] == sorted(found[0], reverse=True)
    assert found[1] == sorted(found[1])
    assert len(set(found[0])) == 2

    # The answer, drawn, and it is the runtime's.
    page.get_by_role("link", name="Models").click()
    page.get_by_role("link", name="Try", exact=True).click()
    zone = page.locator(".drop")
    zone.wait_for()
    image = sorted((class_folders / "test").rglob("*.png"))[0]
    page.evaluate(DROP, [zone.element_handle(), image.name, base64.b64encode(image.read_bytes()).decode()])
    page.get_by_text("ms on the server").wait_for()
    pictures_are_there(page)
    look(page, "answer")
    export = next(model for model in server.client.list_models() if model["kind"] == "onnx")
    expected = server.client.predict(export["job_id"], export["path"], image)["prediction"]
    shown = page.locator(".bar").all_inner_texts()
    best = max(expected["probabilities"], key=expected["probabilities"].get)
    assert shown[0].split() == [best, f"{expected['probabilities'][best] * 100:.1f}%"]
    page.evaluate(DROP, [zone.element_handle(), "text.png", base64.b64encode(b"no image").decode()])
    page.get_by_role("alert").wait_for()
    page.get_by_role("link", name="Jobs", exact=True).click()
    page.get_by_role("table", name="Jobs").wait_for()
    look(page, "jobs")


def test_a_token_is_asked_for_once(browser: Any, tmp_path: Path) -> None:
    with served(tmp_path / "server", manages=False, require_token=True) as server:
        token = make_token(server.context.store, "visitor", "user")
        page = browser.new_page()
        page.goto(server.url)
        page.get_by_label("Token of this server").fill("wrong")
        page.get_by_role("button", name="Enter").click()
        page.get_by_label("Token of this server").fill(token)
        page.keyboard.press("Enter")
        page.get_by_text("No jobs yet").wait_for()
        assert page.locator("dialog").count() == 0
        page.close()


def test_boxes_are_drawn_where_they_are(page: Any, server: Served, tmp_path: Path) -> None:
    box = [10.0, 5.0, 60.0, 45.0]
    boxes = [
        {"label": "cell", "score": 0.875, "box": box},
        {"label": "rod", "score": 0.5, "box": [70, 20, 90, 30]},
    ]
    answer = {
        "kind": "boxes",
        "width": 100,
        "height": 50,
        "seconds": 0.012,
        "prediction": {"detections": boxes},
    }
    page.route("**:predict*", lambda route: route.fulfill(json=answer))
    page.goto(f"{server.url}/#/try/some-job/export%2Fmodel.onnx")
    zone = page.locator(".drop")
    zone.wait_for()
    Image.new("RGB", (100, 50), "white").save(tmp_path / "a.png")
    data = base64.b64encode((tmp_path / "a.png").read_bytes()).decode()
    page.evaluate(DROP, [zone.element_handle(), "a.png", data])
    page.get_by_text("cell: 1, rod: 1").wait_for()
    pictures_are_there(page)
    look(page, "boxes")
    image = page.locator("img.tried").bounding_box()
    drawn = page.locator("rect").first.bounding_box()
    scale = image["width"] / 100
    assert scale >= 3  # a small image is shown larger
    assert drawn["x"] - image["x"] == pytest.approx(box[0] * scale, abs=2)
    assert drawn["y"] - image["y"] == pytest.approx(box[1] * scale, abs=2)
    assert drawn["width"] == pytest.approx(50 * scale, abs=3)
    assert drawn["height"] == pytest.approx(40 * scale, abs=3)
    assert page.locator("svg text").all_text_contents() == ["cell 88%", "rod 50%"]


@pytest.mark.parametrize("server", [False], indirect=True)  # it starts no job
def test_images_are_made_of_a_prompt(page: Any, server: Served, tmp_path: Path) -> None:
    job = exported(server, generating_model(tmp_path))
    page.goto(f"{server.url}/#/models")
    page.get_by_role("link", name="Try", exact=True).click()
    page.get_by_role("textbox", name="Prompt").fill("a red circle")
    page.get_by_label(re.compile("^Seed")).fill("7")
    page.get_by_label(re.compile("^Images")).fill("2")
    page.keyboard.press("Enter")
    page.get_by_text("Done.").wait_for()
    pictures_are_there(page)
    look(page, "generate")
    assert page.locator("figcaption").count() == 2
    for seed in (7, 8):
        made = server.client.generate(job, "train/model", "a red circle", seed=seed)
        with Image.open(io.BytesIO(made)) as image:
            expected = [*image.convert("RGBA").tobytes()]
        assert page.get_by_role("img", name=f"a red circle, seed {seed}").evaluate(PIXELS) == expected
    page.get_by_label(re.compile("^Guidance")).fill("101")
    page.get_by_label(re.compile("^Guidance")).evaluate("(one) => one.removeAttribute('max')")
    page.get_by_role("button", name="Make").click()
    page.get_by_role("alert").get_by_text("guidance_scale is 101").wait_for()
