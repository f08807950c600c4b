"""Voice-activity detection with Silero VAD v6 (the file that faster-whisper ships)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort

from voiceedge.audio.pcm import PCM
from voiceedge.engines.onnx_session import open_session

FRAME_SAMPLES = 512
"""32 ms at 16 kHz: the only length the model was trained on."""
CONTEXT_SAMPLES = 64
"""End of the previous frame, which the model sees in front of each frame."""
STATE_SHAPE = (1, 1, 128)


class SileroVad:
    """The weights. All that a speaker leaves behind is in the stream."""

    frame_samples = FRAME_SAMPLES

    def __init__(self, model: Path) -> None:
        # 0.2 ms a frame: a second thread would cost more to wake than it saves
        self._session = open_session(model, threads=1)

    def open(self) -> SileroStream:
        """Start a stream with fresh state."""
        return SileroStream(self._session)


class SileroStream:
    """What the model remembers of one session: two recurrent states and the last samples."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self._input = np.zeros((1, CONTEXT_SAMPLES + FRAME_SAMPLES), dtype=np.float32)
        self._h = np.zeros(STATE_SHAPE, dtype=np.float32)
        self._c = np.zeros(STATE_SHAPE, dtype=np.float32)
        self._next_h = np.zeros(STATE_SHAPE, dtype=np.float32)
        self._next_c = np.zeros(STATE_SHAPE, dtype=np.float32)
        self._speech = np.zeros(1, dtype=np.float32)
        # on the CPU onnxruntime reads and writes the arrays themselves: an eighth less work than handing them over
        self._binding = session.io_binding()
        for name, array in {"input": self._input, "h": self._h, "c": self._c}.items():
            self._binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
        for name, array in {"speech_probs": self._speech, "hn": self._next_h, "cn": self._next_c}.items():
            self._binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(array))

    def probability(self, frame: PCM) -> float:
        """Probability in [0, 1] that `frame`, shape [512] at 16 kHz, holds speech. Advances the stream.

        Raises:
            ValueError: the frame has another length.
        """
        if frame.shape != (FRAME_SAMPLES,):
            raise ValueError(f"a frame has {FRAME_SAMPLES} samples, not {frame.shape}")
        self._input[0, CONTEXT_SAMPLES:] = frame
        self._session.run_with_iobinding(self._binding)
        self._h[:], self._c[:] = self._next_h, self._next_c
        self._input[0, :CONTEXT_SAMPLES] = frame[-CONTEXT_SAMPLES:]
        return float(self._speech[0])
