"""How every engine opens an onnxruntime session."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from voiceedge.errors import ModelCorrupt, ModelMissing


def open_session(model: Path, threads: int) -> ort.InferenceSession:
    """Load `model` for `threads` threads of this CPU, which sleep while they have nothing to do.

    onnxruntime's threads otherwise burn their core for a while after every step. On a small machine that core
    belongs to another engine, and its next step is late by whole scheduler ticks (facts: hundreds of ms).

    Raises:
        ModelMissing: no such file.
        ModelCorrupt: onnxruntime cannot load it.
    """
    if not model.is_file():
        raise ModelMissing(f"{model} is missing")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors: its warnings are about graphs that we did not make
    try:
        return ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no base class but this one
        reason = str(error).splitlines()[0]
        raise ModelCorrupt(f"onnxruntime cannot load {model}: {reason}") from error
