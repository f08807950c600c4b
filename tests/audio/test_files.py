import wave
from pathlib import Path

import av
import numpy as np
import pytest

from voiceedge.audio.files import read_audio
from voiceedge.audio.pcm import level_dbfs, to_int16
from voiceedge.errors import AudioUnreadable


def tone(rate_hz, hz=440.0):
    return (0.5 * np.sin(2 * np.pi * hz / rate_hz * np.arange(rate_hz // 2))).astype(np.float32)


def write(path, codec, sample_format):
    """Encode the tone on both of two channels with FFmpeg."""
    samples = np.stack((tone(24_000), tone(24_000)))
    whole = to_int16(samples).T.reshape(1, -1) if sample_format == "s16" else samples
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            codec, rate=24_000, layout="stereo", format=sample_format, options={"strict": "experimental"}
        )
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(whole), sample_format, "stereo")
        frame.rate = 24_000
        fifo = av.AudioFifo()
        fifo.write(frame)
        for part in fifo.read_many(stream.codec_context.frame_size or 1024, partial=True):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("name", "codec", "sample_format"),
    [("a.flac", "flac", "s16"), ("a.mp3", "libmp3lame", "fltp"), ("a.ogg", "vorbis", "fltp")],
)
def test_compressed_kinds_are_read(tmp_path, name, codec, sample_format):
    path = tmp_path / name
    write(path, codec, sample_format)
    audio = read_audio(path, 16_000)
    assert audio.dtype == np.float32
    assert audio.size == pytest.approx(8_000, abs=1_500)  # mp3 pads its ends
    assert level_dbfs(audio[2_000:6_000]) == pytest.approx(level_dbfs(tone(16_000)), abs=0.5)


def write_wav(path, rate_hz, channels):
    with wave.open(str(path), "wb") as file:
        file.setparams((len(channels), 2, rate_hz, 0, "NONE", ""))
        file.writeframes(to_int16(np.stack(channels, axis=1)).tobytes())


def test_wav_channels_are_averaged(tmp_path):
    path = tmp_path / "stereo.wav"
    write_wav(path, 16_000, [tone(16_000), np.zeros(8_000, dtype=np.float32)])
    assert np.allclose(read_audio(path, 16_000), tone(16_000) / 2, atol=1e-4)


@pytest.mark.parametrize("content", [b"", b"not audio at all", b"RIFF\x00\x00\x00\x00WAVE"])
def test_what_is_not_audio_is_named_in_one_line(tmp_path, content):
    path = tmp_path / "voice.wav"
    path.write_bytes(content)
    with pytest.raises(AudioUnreadable) as caught:
        read_audio(path, 16_000)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_rate_that_cannot_be_converted_is_named(tmp_path):
    path = tmp_path / "odd.wav"
    write_wav(path, 15_999, [np.zeros(100, dtype=np.float32)])
    with pytest.raises(AudioUnreadable, match=r"odd\.wav.*15999 Hz"):
        read_audio(path, 16_000)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(AudioUnreadable, match="No such file"):
        read_audio(tmp_path / "gone.wav", 16_000)
    with pytest.raises(AudioUnreadable, match="directory"):
        read_audio(Path(tmp_path), 16_000)
