"""Opening an ONNX file with onnxruntime, with errors that say what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from tao_like.errors import BundleError, SpecError
from tao_like.runtime.other_programs import ONE_BUSY, SINCE_IMPORT

if TYPE_CHECKING:
    import onnxruntime

_SHORT_NAMES = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}
_CPU = _SHORT_NAMES["cpu"]
_FATAL_ONLY = 4
"""Errors are raised; printed on the screen too, they stand there without a cause."""
_OUT_OF_MEMORY = ("bad_alloc", "Failed to allocate memory", "out of memory")


def session_options() -> onnxruntime.SessionOptions:
    """Options of every session: errors are raised and not printed too, and threads suit the machine.

    onnxruntime's threads spin while they wait for one another. Where other programs need a processor when the
    session is opened, they sleep: there a spinning thread takes it from the one that it waits for.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    if SINCE_IMPORT.processors() >= ONE_BUSY:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def graph_session(
    graph: bytes, options: onnxruntime.SessionOptions | None = None
) -> onnxruntime.InferenceSession:
    """A session on the CPU for a graph in memory; onnxruntime's own errors come through.

    Args:
        graph: a serialised ONNX model.
        options: None: `session_options`.
    """
    import onnxruntime

    return onnxruntime.InferenceSession(
        graph,
        sess_options=options or session_options(),
        providers=[_CPU],
        enable_fallback=0,  # it would print an error to the screen and try the same again
    )


def open_session(
    path: Path,
    providers: str | Sequence[str] | None = None,
    threads: int | None = None,
    *,
    exact_int8: bool = False,
) -> onnxruntime.InferenceSession:
    """Open an ONNX file.

    Args:
        path: the file.
        providers: where to compute, in order of preference: cpu, cuda, tensorrt, openvino, coreml,
            directml, or onnxruntime's own names. What a provider cannot compute runs on the CPU.
            None: the CPU.
        threads: threads of one operator on the CPU, 1 or more. None: onnxruntime's choice.
        exact_int8: int8 kernels that cannot overflow where the processor has no VNNI, which are slower;
            elsewhere nothing changes.

    Raises:
        SpecError: a provider is unknown, not in this onnxruntime or does not start here; or ``threads`` < 1.
        BundleError: the file is missing or no ONNX file that onnxruntime can run.
    """
    import onnxruntime  # here, so that the datasets can read images without waiting for it

    # For one that was loaded before tao_like, whose __init__ switches telemetry off for good.
    onnxruntime.disable_telemetry_events()
    wanted = _provider_names(providers, onnxruntime.get_available_providers())
    if threads is not None and threads < 1:
        raise SpecError(f"threads is {threads}; it must be 1 or more, or None for onnxruntime's choice.")
    if not path.is_file():
        raise BundleError(f"{path} is not a file; an ONNX file was expected there.")
    options = session_options()
    if threads is not None:
        options.intra_op_num_threads = threads
    if exact_int8:
        options.add_session_config_entry("session.x64quantprecision", "1")

    def opened(names: Sequence[str]) -> onnxruntime.InferenceSession:
        # onnxruntime's own second try prints its errors to the screen.
        return onnxruntime.InferenceSession(
            _source(path), sess_options=options, providers=list(dict.fromkeys(names)), enable_fallback=0
        )

    try:
        session = opened([*wanted, _CPU])
    except Exception as error:  # onnxruntime's errors share no base class but this
        if wanted != [_CPU]:
            _refuse_providers(wanted, opened, error)
        raise BundleError(f"{path} cannot be opened by onnxruntime: {error}") from error
    _check_texts(session, path)
    idle = [name for name in wanted if name not in session.get_providers()]
    if idle:
        raise SpecError(
            f"providers: {', '.join(idle)} is built into this onnxruntime but did not start; "
            "check its driver and libraries, or take cpu."
        )
    return session


def _source(path: Path) -> str | bytes:
    """What onnxruntime opens: a file by its name, or by its content where the name is no UTF-8."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return path.read_bytes()
    return str(path)


def run_session(
    session: onnxruntime.InferenceSession, path: Path, outputs: Sequence[str], feed: Mapping[str, Any]
) -> list[npt.NDArray[Any]]:
    """Compute the named outputs.

    Raises:
        BundleError: the graph of ``path`` cannot be computed on what its inputs take.
    """
    try:
        computed: list[npt.NDArray[Any]] = session.run(list(outputs), dict(feed))
    except Exception as error:  # onnxruntime's errors share no base class but this
        ours = type(error).__module__.partition(".")[0] == "onnxruntime"
        if not ours or any(text in str(error) for text in _OUT_OF_MEMORY):
            raise
        raise BundleError(f"{path} cannot be run by onnxruntime: {error}") from error
    return computed


def _check_texts(session: onnxruntime.InferenceSession, path: Path) -> None:
    """onnxruntime opens files whose names and metadata are no text; asking for these fails later."""
    try:
        session.get_modelmeta().custom_metadata_map  # noqa: B018
        for node in (*session.get_inputs(), *session.get_outputs()):
            node.name, node.shape  # noqa: B018
    except UnicodeDecodeError as error:
        raise BundleError(f"{path} is damaged: it holds text that is not UTF-8.") from error


def open_exact_session(
    path: Path, providers: str | Sequence[str] | None = None, threads: int | None = None
) -> tuple[onnxruntime.InferenceSession, bool]:
    """Open a file with ``exact_int8``, and say whether it could be; else as `open_session` does.

    onnxruntime fails to change the kernels of a file in which several layers share their weights.
    """
    try:
        return open_session(path, providers, threads, exact_int8=True), True
    except BundleError:
        return open_session(path, providers, threads), False


def _refuse_providers(
    wanted: Sequence[str], opened: Callable[[Sequence[str]], object], error: Exception
) -> None:
    """Raise a SpecError that blames the providers, if the CPU alone can open the file."""
    try:
        opened([_CPU])
    except Exception:  # the file is to blame, as the first error says
        return
    raise SpecError(
        f"providers: {', '.join(wanted)} cannot open the file, which cpu can: {error}; check the driver and "
        "libraries, or take cpu."
    ) from error


def _provider_names(providers: str | Sequence[str] | None, available: Sequence[str]) -> list[str]:
    if providers is None:
        return [_CPU]
    given = [providers] if isinstance(providers, str) else list(providers)
    if not given:
        raise SpecError("providers is empty; give at least one, such as cpu, or None.")
    names = [_SHORT_NAMES.get(name.lower(), name) for name in given]
    for name, short in zip(names, given, strict=True):
        if name not in available:
            short_names = {full: key for key, full in _SHORT_NAMES.items()}
            offered = ", ".join(short_names.get(full, full) for full in available)
            raise SpecError(f"providers: {short} is not in this onnxruntime, which offers {offered}.")
    return names
