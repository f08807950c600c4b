"""Reads recordings from disk."""

from __future__ import annotations

from pathlib import Path

import miniaudio
import numpy as np

from voiceedge.audio.pcm import PCM
from voiceedge.audio.resample import resample
from voiceedge.errors import AudioUnreadable

LONGEST_S = 4 * 3600.0
"""Longest recording: a header of 63 bytes may promise centuries, and the decoder makes room for them."""


def read_audio(path: Path, rate_hz: int) -> PCM:
    """Read a wav, flac, mp3 or ogg (Vorbis) file as mono PCM at `rate_hz`; channels are averaged.

    Decoded at the file's own rate and converted by our own resampler: miniaudio's converter interpolates
    linearly and lets aliases through.

    Raises:
        AudioUnreadable: the file is not there, is not audio of these kinds, or is longer than `LONGEST_S`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AudioUnreadable(f"Cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:  # no name of a file
        raise AudioUnreadable(f"Cannot read {path}: {error}") from error
    try:
        info = miniaudio.get_file_info(str(path))
        if info.duration > LONGEST_S:
            raise AudioUnreadable(f"Cannot use {path}: it says that it lasts for {info.duration / 3600:.0f} hours.")
        sound = miniaudio.decode(
            data,
            output_format=miniaudio.SampleFormat.FLOAT32,
            nchannels=info.nchannels,
            sample_rate=info.sample_rate,
        )
    except (miniaudio.MiniaudioError, ZeroDivisionError) as error:  # the latter of a header with a rate of 0
        raise AudioUnreadable(f"Cannot decode {path}: not wav, flac, mp3 or ogg ({error})") from error
    channels = np.frombuffer(sound.samples, dtype=np.float32).reshape(-1, sound.nchannels)
    mono = channels.mean(axis=1, dtype=np.float32)
    try:
        return resample(mono, sound.sample_rate, rate_hz)
    except ValueError as error:
        raise AudioUnreadable(f"Cannot use {path}: {error}") from error
