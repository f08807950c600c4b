"""What is played to the node: recordings, and where the user's speech ends in each."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voiceedge.audio.files import read_audio
from voiceedge.audio.pcm import PCM
from voiceedge.audio.resample import resample
from voiceedge.engines import Tts
from voiceedge.errors import AudioUnreadable, OperatorError

WIRE_RATE_HZ = 24_000
"""`audio/pcm` of the Realtime protocol, both ways."""

_SUFFIXES = frozenset({".wav", ".flac", ".mp3", ".ogg"})
_FRAME_SAMPLES = WIRE_RATE_HZ // 100
"""10 ms."""
_VOICED_WITHIN_DB = 35.0
"""Of the loud frames: softer ones are the room. A recording whose room is louder than that needs a list that
states `last_voiced_s`."""
_LOUD_PERCENTILE = 90.0
_SILENCE_DBFS = -60.0
"""A recording that is nowhere louder holds no speech."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One utterance of the user."""

    name: str
    audio: PCM
    """At `WIRE_RATE_HZ`."""
    last_voiced: int
    """The user has spoken up to this sample: time zero of the turn."""
    expected_text: str | None = None
    """What was said, where a list states it."""
    hesitates_s: float | None = None
    """How long a pause was put into it (`bench/hesitation`); None for a recording as it is."""
    file: Path | None = None
    """Where it was read; None for what was spoken."""


def load_recordings(paths: Iterable[Path]) -> list[Recording]:
    """Read recordings, folders (every wav, flac, mp3 and ogg in them, sorted) and lists.

    A list is a tab-separated file with a header that has `path` (relative to the list), and may have `id`,
    `last_voiced_s` and `transcript`; `segments` (of speech, in seconds: `0.5-1.5 2.1-3.0`) states the end of
    speech as well.

    Raises:
        AudioUnreadable: a file is missing, cannot be decoded or holds no speech.
    """
    return [recording for path in paths for recording in _load(path)]


def spoken(text: str, tts: Tts) -> Recording:
    """Have the default voice of `tts` speak a text.

    Raises:
        OperatorError: the voice makes no sound of it.
    """
    pieces = [np.zeros(0, np.float32), *tts.speak(text, tts.voices[0], 1.0)]
    audio = resample(np.concatenate(pieces), tts.sample_rate_hz, WIRE_RATE_HZ)
    last_voiced = last_voiced_sample(audio)
    if last_voiced is None:
        raise OperatorError(f"the voice {tts.voices[0]} makes no sound of {text!r}")
    return Recording(text, audio, last_voiced, expected_text=text)


def last_voiced_sample(audio: PCM) -> int | None:
    """Where speech ends in `audio` at `WIRE_RATE_HZ`: the last 10 ms frame within 35 dB of the loud ones.

    Loud is the 90th percentile of the frames within 35 dB of the loudest (one click does not decide); the end
    of the frame counts. None when there is nothing but silence.
    """
    voiced = voiced_frames(frame_levels(audio))
    return (int(voiced[-1]) + 1) * _FRAME_SAMPLES if voiced.size else None


def first_voiced_sample(recording: Recording) -> int:
    """Where speech begins, by the same rule: the beginning of the first frame of it, never behind its end."""
    voiced = voiced_frames(frame_levels(recording.audio[: recording.last_voiced]))
    return int(voiced[0]) * _FRAME_SAMPLES if voiced.size else 0


def voiced_frames(levels: NDArray[np.float64]) -> NDArray[np.intp]:
    """Which of the frames are speech, by their levels in dBFS: none when there is nothing but silence."""
    if levels.size == 0 or levels.max() < _SILENCE_DBFS:
        return np.zeros(0, np.intp)
    speech = levels[levels >= levels.max() - _VOICED_WITHIN_DB]  # a word in a minute of quiet is found as well
    threshold = np.percentile(speech, _LOUD_PERCENTILE) - _VOICED_WITHIN_DB
    return np.flatnonzero(levels >= threshold)


def frame_levels(audio: PCM) -> NDArray[np.float64]:
    """Level of every whole 10 ms of `audio` at `WIRE_RATE_HZ`, in dBFS, shape [frames]."""
    frames = len(audio) // _FRAME_SAMPLES
    blocks = audio[: frames * _FRAME_SAMPLES].reshape(frames, _FRAME_SAMPLES).astype(np.float64)
    levels: NDArray[np.float64] = 10.0 * np.log10(np.mean(blocks**2, axis=1) + 1e-12)
    return levels


def _load(path: Path) -> Iterator[Recording]:
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES)
        if not files:
            raise AudioUnreadable(f"{path} holds no wav, flac, mp3 or ogg file")
        return (_read(file, file.name) for file in files)
    if path.suffix.lower() == ".tsv":
        return _listed(path)
    return chain((_read(path, path.name),))


def _listed(path: Path) -> Iterator[Recording]:
    try:
        rows = list(csv.DictReader(path.read_text("utf-8").splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, UnicodeDecodeError) as error:
        raise AudioUnreadable(f"{path} cannot be read: {error}") from error
    if not rows or "path" not in rows[0]:
        raise AudioUnreadable(f"{path} is no list of recordings: its header needs a column named path")
    for line, row in enumerate(rows, start=2):
        file = path.parent / (row["path"] or "")
        stated = row.get("last_voiced_s") or (row.get("segments") or "").rpartition("-")[2] or None
        try:
            last_voiced_s = None if stated is None else float(stated)
        except ValueError as error:
            raise AudioUnreadable(f"{path}, line {line}: speech ends at {stated!r}, not seconds") from error
        yield _read(file, row.get("id") or file.name, last_voiced_s, row.get("transcript") or None)


def _read(path: Path, name: str, last_voiced_s: float | None = None, text: str | None = None) -> Recording:
    audio = read_audio(path, WIRE_RATE_HZ)
    last_voiced = last_voiced_sample(audio) if last_voiced_s is None else round(last_voiced_s * WIRE_RATE_HZ)
    if last_voiced is None or not 0 < last_voiced <= len(audio) + _FRAME_SAMPLES:
        raise AudioUnreadable(f"{path} holds no speech that an answer could be measured from")
    return Recording(name, audio, min(last_voiced, len(audio)), text, file=path)
