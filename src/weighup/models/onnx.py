"""Run an ONNX file on this machine's processor. One session per file and process, safe across threads and forks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weighup.errors import ModelUnavailable
from weighup.models.instances import shared
from weighup.models.onnx_signed import signed, signed_is_faster


def cores() -> int:
    """Processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class OnnxModel:
    """A file and how many threads to run it on; the session opens at first use. Picklable."""

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        self.path = path
        self.threads = threads or cores()

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
        """All outputs for `feeds` (inputs by name; those that the model does not have are left out).

        Raises ModelUnavailable naming the file if it is not a model that onnxruntime can run.
        """
        session = self._session()
        wanted = [i.name for i in session.get_inputs()]
        unknown = [name for name in wanted if name not in feeds]
        if unknown:
            raise ModelUnavailable(f"{self.path}: it wants {', '.join(unknown)}; known are {', '.join(feeds)}")
        try:
            outputs: list[NDArray[np.float32]] = session.run(None, {name: feeds[name] for name in wanted})
        except Exception as error:
            raise ModelUnavailable(f"{self.path}: onnxruntime cannot run it: {error}") from error
        return outputs

    @property
    def output_shapes(self) -> list[list[int | str]]:
        """Shapes of the outputs as the file declares them; free dimensions are strings."""
        return [list(o.shape) for o in self._session().get_outputs()]

    def _session(self) -> Any:
        return shared(("onnx", self.path, self.threads), self._open)

    def _open(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # The arena keeps the largest batch ever seen; without it memory stays flat over a long run.
        options.enable_cpu_mem_arena = False
        # Between two batches the workers sleep rather than spin: the other core is for whoever tokenises or searches.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            source = signed(self.path.read_bytes()) if signed_is_faster() else str(self.path)
            return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ModelUnavailable(f"{self.path}: not a model onnxruntime can load: {error}") from error
