from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tao_like.errors import TaoLikeError
from tao_like.tracking import TensorBoard

torch = pytest.importorskip("torch")
event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def read(folder: Path) -> event_accumulator.EventAccumulator:
    events = event_accumulator.EventAccumulator(str(folder), size_guidance={"images": 0, "histograms": 0})
    events.Reload()
    return events


def test_what_is_written_is_what_tensorboard_reads(tmp_path: Path) -> None:
    figure = Image.fromarray(np.random.default_rng(0).integers(0, 255, (7, 9), dtype=np.uint8))
    with TensorBoard(tmp_path) as writer:
        writer.scalars({"train/loss": 0.5, "train/lr": 0.01}, 1)
        writer.scalars({"train/loss": torch.tensor(0.25)}, 2)
        writer.image("val/pictures", figure, 2)
        writer.text("spec", "train:\n  seed: 1", verbatim=True)
        writer.histogram("weights/stem", torch.tensor([1.0, 2.0, float("nan")], dtype=torch.bfloat16), 2)
        writer.histogram("weights/broken", torch.tensor([float("inf")]), 2)
    events = read(tmp_path)
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(1, 0.5), (2, 0.25)]
    (image,) = events.Images("val/pictures")
    shown = Image.open(io.BytesIO(image.encoded_image_string))
    assert np.array_equal(np.asarray(shown), np.asarray(figure.convert("RGB")))
    text = events.Tensors("spec/text_summary")[0].tensor_proto.string_val[0].decode()
    assert text == "    train:\n      seed: 1"  # four spaces: Markdown's code block
    assert events.Tags()["histograms"] == ["weights/stem"]
    (histogram,) = events.Histograms("weights/stem")
    assert (histogram.histogram_value.num, histogram.histogram_value.sum) == (2, 3.0)


def test_hparams_of_two_runs_stand_side_by_side(tmp_path: Path) -> None:
    """Asks the HPARAMS page's own back end what it shows."""
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

    for name, rate, top1 in (("first", 0.1, 0.75), ("second", 0.01, 0.5)):
        with TensorBoard(tmp_path / name) as writer:
            writer.scalars({"val/top1": 0.1}, 5)
            writer.hparams(
                {"train": {"optim": {"lr": rate}, "gpu_ids": [0, 1], "seed": None}, "model": "resnet50"},
                {"top1": top1},
            )
    runs = plugin_event_multiplexer.EventMultiplexer().AddRunsFromDirectory(str(tmp_path))
    runs.Reload()
    assert sorted(runs.Runs()) == ["first", "second"]  # no further run for the hparams
    context = base_plugin.TBContext(data_provider=data_provider.MultiplexerDataProvider(runs, str(tmp_path)))
    backend = backend_context.Context(context)
    request = RequestContext()
    experiment = backend.experiment_from_metadata(
        request, "", True, backend.hparams_metadata(request, ""), []
    )
    wanted = api_pb2.ListSessionGroupsRequest(
        allowed_statuses=[api_pb2.STATUS_SUCCESS], start_index=0, slice_size=9
    )
    groups = list_session_groups.Handler(request, backend, "", wanted).run().session_groups
    assert {info.name for info in experiment.hparam_infos} == {"train.optim.lr", "train.gpu_ids", "model"}
    shown = {
        group.sessions[0].name: (
            group.hparams["train.optim.lr"].number_value,
            group.hparams["train.gpu_ids"].string_value,
            {value.name.tag: value.value for value in group.metric_values},
        )
        for group in groups
    }
    assert shown == {
        "first": (0.1, "[0, 1]", {"val_kept/top1": 0.75}),
        "second": (0.01, "[0, 1]", {"val_kept/top1": 0.5}),
    }


def test_points_that_a_resumed_run_writes_again_are_dropped(tmp_path: Path) -> None:
    with TensorBoard(tmp_path) as writer:
        writer.text("spec", "seed: 1")
        for step in range(5):
            writer.scalars({"loss": 100.0, "rate": 1.0}, step)
    (events,) = tmp_path.glob("events.*")
    # A process that is killed leaves half a record.
    events.write_bytes(events.read_bytes()[:-7])
    with TensorBoard(tmp_path) as writer:
        writer.drop(lambda tag, step: tag == "loss" and step >= 3)
        for step in range(3, 6):
            writer.scalars({"loss": 1.0}, step)
    found = read(tmp_path)
    assert [(event.step, event.value) for event in found.Scalars("loss")] == [
        (0, 100.0),
        (1, 100.0),
        (2, 100.0),
        (3, 1.0),
        (4, 1.0),
        (5, 1.0),
    ]
    # The last record of the first file was the half one.
    assert [event.step for event in found.Scalars("rate")] == [0, 1, 2, 3]
    assert found.Tags()["tensors"] == ["spec/text_summary"]
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name]


def test_what_is_flushed_outlives_the_process(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from tao_like.tracking import TensorBoard\n"
        "board = TensorBoard(Path(sys.argv[1])); board.scalars({'loss': 1.0}, 7); board.flush()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert [event.step for event in read(tmp_path).Scalars("loss")] == [7]


class _Untraceable(torch.nn.Module):
    def forward(self, inputs: torch.Tensor) -> object:
        return object()


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_the_graph_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Dropout())
    network.train()
    network[1].eval()  # as a frozen norm layer stands
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with TensorBoard(tmp_path) as writer:
        writer.graph(network, torch.zeros(1, 3, 8, 8))
        with pytest.raises(TaoLikeError, match="cannot draw the graph"):
            writer.graph(_Untraceable(), torch.zeros(1))
    assert [module.training for module in network.modules()] == [True, True, False, True]
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert "batch_norm" in str(read(tmp_path).Graph())


def test_only_the_first_process_of_a_parallel_run_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "2")
    with TensorBoard(tmp_path) as writer:
        writer.scalars({"loss": 1.0}, 0)
        writer.hparams({"lr": 1}, {"top1": 1.0})
        writer.text("a", "b")
        writer.image("c", Image.new("L", (2, 2)), 0)
        writer.histogram("d", torch.ones(2), 0)
        writer.graph(torch.nn.Identity(), torch.ones(1))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "train").write_text("a file")
    with pytest.raises(TaoLikeError, match=r"train.*a file has this name"):
        TensorBoard(tmp_path / "train").scalars({"loss": 1.0}, 0)


def test_importing_costs_neither_torch_nor_tensorboard() -> None:
    script = "import sys, tao_like.tracking; print('torch' in sys.modules, 'tensorboard' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_full_disk_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write(writer: TensorBoard) -> None:
        for step in range(1000):
            writer.scalars({"loss": 1.0}, step)
            time.sleep(0.001)

    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)  # pytest has one of its own
    writer = TensorBoard(tmp_path)
    writer.scalars({"loss": 1.0}, 0)
    monkeypatch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.write", refuse)
    with pytest.raises(TaoLikeError, match=f"no space left on the disk that holds {tmp_path}"):
        write(writer)
    assert "Traceback" not in capfd.readouterr().err


def test_what_goes_on_within_a_second_stands_behind_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names end with a counter of the process, and the tenth file sorts before the ninth."""
    from tensorboard.summary.writer import event_file_writer

    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(9))
    for step in range(2):
        with TensorBoard(tmp_path) as writer:
            writer.scalars({"loss": float(step)}, step)
    assert [event.step for event in read(tmp_path).Scalars("loss")] == [0, 1]
