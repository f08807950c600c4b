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


def write(path, codec, rate_hz, channels):
    """Encode a tone with FFmpeg."""
    samples = np.zeros((channels, rate_hz // 2), dtype=np.float32)
    samples[0] = tone(rate_hz)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate_hz, layout="stereo" if channels == 2 else "mono")
        planar = stream.format.name.endswith("p")
        whole = to_int16(samples) if stream.format.name.startswith("s16") else samples
        for begin in range(0, whole.shape[1], 1024):
            piece = whole[:, begin : begin + 1024]
            array = piece if planar else piece.T.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(array), stream.format.name, stream.layout.name)
            frame.rate = rate_hz
            frame.pts = begin
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(("name", "codec"), [("a.flac", "flac"), ("a.mp3", "libmp3lame"), ("a.ogg", "libvorbis")])
def test_compressed_kinds_are_read(tmp_path, name, codec):
    path = tmp_path / name
    write(path, codec, 24_000, 1)
    audio = read_audio(path, 16_000)
    assert audio.dtype == np.float32
    assert audio.size == pytest.approx(8_000, abs=1_500)  # mp3 pads its ends
    assert level_dbfs(audio[2_000:6_000]) == pytest.approx(level_dbfs(tone(16_000)), abs=0.5)


def test_wav_channels_are_averaged(tmp_path):
    path = tmp_path / "stereo.wav"
    pair = np.stack((tone(16_000), np.zeros(8_000, dtype=np.float32)), axis=1)
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, 16_000, 0, "NONE", ""))
        file.writeframes(to_int16(pair).tobytes())
    assert np.allclose(read_audio(path, 16_000), tone(16_000) / 2, atol=1e-4)


@pytest.mark.parametrize("content", [b"", b"not audio at all", b"RIFF\x00\x00\x00\x00WAVE"])
def test_what_is_not_audio_is_named_in_one_line(tmp_path, content):
    path = tmp_path / "voice.wav"
    path.write_bytes(content)
    with pytest.raises(AudioUnreadable) as caught:
        read_audio(path, 16_000)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(AudioUnreadable, match="No such file"):
        read_audio(tmp_path / "gone.wav", 16_000)
    with pytest.raises(AudioUnreadable, match="directory"):
        read_audio(Path(tmp_path), 16_000)
