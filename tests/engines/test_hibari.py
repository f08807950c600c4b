import numpy as np
import pytest

from voiceedge.audio.pcm import first_audible, last_audible, level_dbfs
from voiceedge.engines.hibari import HibariTts

pytestmark = pytest.mark.models  # its weights come with the package, but are real


def seconds(pieces):
    return sum(piece.size for piece in pieces) / 24_000


def test_speech_begins_at_once_and_without_a_click(voice):
    (audio,) = voice.speak("Paris is the capital of France.", "heart", 1.0)
    assert audio.dtype == np.float32
    assert 1.0 < audio.size / voice.sample_rate_hz < 3.0
    assert first_audible(audio, 24_000) <= 0.03 * 24_000
    assert abs(audio[0]) < 1e-4
    assert abs(audio[-1]) < 1e-4


@pytest.mark.parametrize("text", ["Thanks.", "The sea.", "Happy?", "Sure.", "Fish.", "Paris.", "Take it.", "It is."])
def test_something_is_audible_within_six_milliseconds(voice, text):
    audio = next(iter(voice.speak(text, "heart", 1.0)))
    loud = [level_dbfs(audio[at : at + 60]) > -50 for at in range(0, 240, 12)]  # 2.5 ms, every 0.5 ms
    assert any(loud[:13])


@pytest.mark.parametrize(("text", "pause_s"), [("It is here.", 0.3), ("Well,", 0.2), ("in the end", 0.08)])
def test_the_pause_behind_a_clause_fits_its_mark(voice, text, pause_s):
    (audio,) = voice.speak(text, "heart", 1.0)
    assert audio.size - 1 - last_audible(audio, 24_000) == pytest.approx(pause_s * 24_000, abs=240)


def test_each_sentence_comes_as_soon_as_it_is_ready(voice):
    pieces = list(voice.speak("It is late. Good night!", "heart", 1.0))
    assert len(pieces) == 2
    assert all(level_dbfs(piece) > -40 for piece in pieces)


@pytest.mark.parametrize("text", ["", " ", "...", "—", "\N{GRINNING FACE}", "\N{CJK UNIFIED IDEOGRAPH-65E5}"])
def test_nothing_comes_of_text_that_cannot_be_pronounced(voice, text):
    assert list(voice.speak(text, "heart", 1.0)) == []


def test_speed_changes_how_long_it_takes(voice):
    text = "Paris is the capital of France."
    slow, normal, fast = (seconds(voice.speak(text, "heart", speed)) for speed in (0.25, 1.0, 1.5))
    assert slow > 3 * normal
    assert 0.6 * normal < fast < 0.8 * normal


def test_a_sentence_without_end_comes_in_parts(voice):
    pieces = list(voice.speak("and then another word " * 30, "heart", 1.0))
    assert len(pieces) > 1
    assert max(piece.size for piece in pieces) < 25 * voice.sample_rate_hz


def test_a_number_without_end_is_read(voice):
    assert seconds(voice.speak("7" * 40, "heart", 1.5)) > 10


def test_the_same_text_always_sounds_the_same(voice):
    once, again = (np.concatenate(list(voice.speak("She sells sea shells.", "heart", 1.0))) for _ in range(2))
    assert np.array_equal(once, again)


@pytest.mark.parametrize(
    ("text", "same"),
    [("The answer is no.", "The answer is know ."), ("Symphony No. 5 is long.", "Symphony number 5 is long.")],
)
def test_no_at_the_end_of_a_sentence_is_not_read_as_number(voice, text, same):
    assert seconds(voice.speak(text, "heart", 1.0)) == pytest.approx(seconds(voice.speak(same, "heart", 1.0)), abs=0.03)


def test_an_unknown_voice_is_refused_and_the_known_are_named(voice):
    with pytest.raises(ValueError, match="heart"):
        list(voice.speak("Hello.", "alloy", 1.0))


def test_two_threads_sound_like_one(voice):
    one, two = (np.concatenate(list(v.speak("Hello there.", "heart", 1.0))) for v in (voice, HibariTts(threads=2)))
    assert one.size == two.size
    assert np.allclose(one, two, atol=1e-3)


# ── a sentence in pieces ──────────────────────────────────────────────────────────────────────────────────

SENTENCES = [
    ("The capital of France", "is Paris."),
    ("I can help you", "with that order."),
    ("The weather in Norway", "can be very cold."),
    ("If you tell me the number,", "I can look for it."),
]


def speak(voice, text, **around):
    return np.concatenate(list(voice.speak(text, "heart", 1.0, **around)))


@pytest.mark.parametrize(("text", "rest"), SENTENCES)
def test_a_sentence_in_pieces_takes_as_long_as_in_one(voice, text, rest):
    whole = speak(voice, f"{text} {rest}")
    pieces = speak(voice, text, goes_on=True).size + speak(voice, rest, before=text).size
    apart = speak(voice, text).size + speak(voice, rest).size
    assert abs(pieces - whole.size) < 0.2 * 24_000
    assert pieces < apart


def test_what_stands_before_and_behind_is_not_heard(voice):
    assert speak(voice, "is Paris.", before="The capital of France").size < 1.0 * 24_000
    assert speak(voice, "The capital of France", goes_on=True).size < 1.05 * 24_000


def test_a_piece_goes_on_at_the_pitch_of_its_sentence(voice):
    """Spoken alone, it would begin like a sentence, some 5 semitones higher."""
    begun, alone = speak(voice, "is a cat.", before="The name of the animal"), speak(voice, "is a cat.")
    assert pitch_hz(begun[1_500:6_300]) < 0.88 * pitch_hz(alone[1_500:6_300])


def pitch_hz(audio):
    spectrum = np.fft.rfft(audio, 2 * audio.size)
    likeness = np.fft.irfft(np.abs(spectrum) ** 2)[24_000 // 400 : 24_000 // 90]
    return 24_000 / (24_000 // 400 + int(np.argmax(likeness)))


def test_context_that_cannot_be_pronounced_is_none(voice):
    assert np.array_equal(speak(voice, "Hello.", before="..."), speak(voice, "Hello."))
