import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.audio.pcm import to_pcm16
from voiceedge.bench.recording import (
    WIRE_RATE_HZ,
    Recording,
    first_voiced_sample,
    last_voiced_sample,
    load_recordings,
    spoken,
)
from voiceedge.errors import AudioUnreadable, OperatorError


def tone(seconds, level=0.3):
    t = np.arange(round(seconds * WIRE_RATE_HZ)) / WIRE_RATE_HZ
    return (level * np.sin(2 * np.pi * 440 * t)).astype(np.float32)


def silence(seconds):
    return np.zeros(round(seconds * WIRE_RATE_HZ), np.float32)


def write_wav(path, audio):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(WIRE_RATE_HZ)
        file.writeframes(to_pcm16(audio))


class Whistle:
    sample_rate_hz = 48_000
    voices = ("whistle", "other")

    def __init__(self, level=0.3):
        self.level = level

    def speak(self, text, voice, speed):
        assert (voice, speed) == ("whistle", 1.0)
        for _ in text.split():
            yield (self.level * np.sin(np.arange(4800) / 9)).astype(np.float32)


@given(before=st.integers(0, 30), voiced=st.integers(5, 60), after=st.integers(0, 500))
def test_speech_ends_where_the_last_loud_frame_ends(before, voiced, after):
    audio = np.concatenate([silence(before / 100), tone(voiced / 100), silence(after / 100)])
    assert last_voiced_sample(audio) == (before + voiced) * WIRE_RATE_HZ // 100


@given(before=st.integers(0, 300), voiced=st.integers(5, 60), after=st.integers(0, 50))
def test_speech_begins_where_its_first_loud_frame_begins(before, voiced, after):
    audio = np.concatenate([silence(before / 100), tone(voiced / 100), silence(after / 100)])
    said = Recording("r", audio, (before + voiced) * WIRE_RATE_HZ // 100)
    assert first_voiced_sample(said) == before * WIRE_RATE_HZ // 100


def test_a_click_behind_the_stated_end_of_speech_is_not_its_beginning():
    said = Recording("r", np.concatenate([silence(0.5), tone(0.01), silence(0.2)]), WIRE_RATE_HZ // 4)
    assert first_voiced_sample(said) == 0


def test_a_soft_ending_within_35_db_still_counts_and_a_softer_one_does_not():
    loud, soft, room = tone(1.0), tone(0.2, 0.3 * 10 ** (-30 / 20)), tone(0.5, 0.3 * 10 ** (-40 / 20))
    assert last_voiced_sample(np.concatenate([loud, soft, room])) == round(1.2 * WIRE_RATE_HZ)


@pytest.mark.parametrize("audio", [silence(0), silence(0.005), silence(1.0), tone(1.0, 1e-4)])
def test_silence_has_no_last_voiced_sample(audio):
    assert last_voiced_sample(audio) is None


def test_a_folder_is_read_in_sorted_order_and_other_files_are_left_alone(tmp_path):
    for name in ("b.wav", "a.WAV", "c.wav"):
        write_wav(tmp_path / name, tone(0.2))
    (tmp_path / "notes.txt").write_text("not audio")
    assert [recording.name for recording in load_recordings([tmp_path])] == ["a.WAV", "b.wav", "c.wav"]


def test_a_list_states_names_ends_and_texts(tmp_path):
    (tmp_path / "ask").mkdir()
    write_wav(tmp_path / "ask" / "one.wav", tone(0.5))
    write_wav(tmp_path / "ask" / "two.wav", np.concatenate([tone(0.3), silence(0.3)]))
    (tmp_path / "list.tsv").write_text(
        'id\tpath\tlast_voiced_s\ttranscript\none\task/one.wav\t0.25\tsay "one"\n\task/two.wav\t\t\n'
    )
    one, two = load_recordings([tmp_path / "list.tsv"])
    assert (one.name, one.last_voiced, one.expected_text) == ("one", WIRE_RATE_HZ // 4, 'say "one"')
    assert (two.name, two.last_voiced, two.expected_text) == ("two.wav", WIRE_RATE_HZ * 3 // 10, None)


@pytest.mark.parametrize(
    "content",
    [
        "name\tlast_voiced_s\nx\t1\n",
        "path\tlast_voiced_s\nhere.wav\tsoon\n",
        "path\tlast_voiced_s\nhere.wav\t99\n",
        "path\nmissing.wav\n",
        "path\tsegments\nhere.wav\t0.1 to 0.2\n",
        "",
    ],
)
def test_a_list_that_does_not_fit_its_recordings_is_refused_in_one_line(tmp_path, content):
    write_wav(tmp_path / "here.wav", tone(0.2))
    (tmp_path / "list.tsv").write_text(content)
    with pytest.raises(AudioUnreadable) as refused:
        load_recordings([tmp_path / "list.tsv"])
    assert "\n" not in str(refused.value)


def test_a_missing_file_an_empty_folder_and_a_silent_recording_are_refused(tmp_path):
    write_wav(tmp_path / "silent.wav", silence(1.0))
    (tmp_path / "empty").mkdir()
    for path in ("missing.wav", "missing.tsv", "empty", "silent.wav"):
        with pytest.raises(AudioUnreadable, match=path):
            load_recordings([tmp_path / path])


def test_a_text_is_spoken_with_the_default_voice_at_the_wire_rate():
    recording = spoken("two words", Whistle())
    assert len(recording.audio) == 2 * 4800 // 2
    assert recording.last_voiced == len(recording.audio)
    assert recording.expected_text == recording.name == "two words"


@pytest.mark.parametrize("voice", [Whistle(level=0.0), Whistle()])
def test_a_text_without_sound_is_refused(voice):
    with pytest.raises(OperatorError, match="whistle"):
        spoken("hush" if voice.level == 0.0 else "", voice)


def test_a_list_can_state_segments_of_speech_and_the_last_one_ends_it(tmp_path):
    write_wav(tmp_path / "one.wav", tone(1.0))
    (tmp_path / "list.tsv").write_text("path\tsegments\none.wav\t0.1-0.4 0.6-0.75\n")
    (one,) = load_recordings([tmp_path / "list.tsv"])
    assert one.last_voiced == WIRE_RATE_HZ * 3 // 4
