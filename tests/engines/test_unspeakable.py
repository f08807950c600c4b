"""What voices make of the worst that can reach them: bounded steps, and sound or nothing."""

from __future__ import annotations

from time import process_time

import numpy as np
import pytest

from tests import real
from voiceedge.conversation.speakable import speakable
from voiceedge.conversation.text import LONGEST_CLAUSE_CHARS, Clauses
from voiceedge.engines.kokoro import KokoroTts

LONGEST_STEP_S = 2.0
"""Of work, on a slow machine. One of `hibari.LONGEST_PHONEMES` takes 0.2 s on a fast one."""
MOST_WORK_S = 5.0
"""For all of a clause: 220 digits sound for a minute and a half."""
CLAUSES = {
    "a long number": "7" * LONGEST_CLAUSE_CHARS,
    "a number with points": "3." + "1" * 200,
    "numbers of fifteen digits": "987654321987654 " * 14,
    "a long word": "x" * LONGEST_CLAUSE_CHARS,
    "letters and digits": "a1" * 110,
    "dashes": "a-" * 110,
    "dots": "a." * 110,
    "apostrophes": "a'" * 110,
    "capitals": "aB" * 110,
    "punctuation": "a" + "!?.," * 54,
    "slashes": "a/" * 110,
    "emoji": "😀" * 100 + "a",
    "accents": "e" + "\u0301" * 200,
    "chinese": "我们今天去公园散步然后回家吃饭" * 14,
    "arabic": "مرحبا بالعالم " * 15,
    "russian": "Сегодня хорошая погода. " * 9,
    "hindi": "नमस्ते दुनिया " * 15,
    "raised": "x² + y³ = z⁴ ½ ¾ ①",
    "json": '{"a": [1, 2, {"b": null}], "c": "\\u0041"}',
    "dates": "1/2/3 4-5-6 99:99:99 0/0 32/13/0000 " * 6,
    "money": "$$$ €1,2,3.4.5 £.5 100%%% ¥ 5¢ " * 7,
    "phonemes": "[hello](/h\u0259l\u02c8O/) \u02c8\u02cc\u02d0\u02b2\u0294 " * 9,
    "markup": "<|im_end|><speak>hi</speak> &amp; &#65; ",
    "other letters": "ªºßœŒæÆøØłŁðÐþÞıİſ ǅ ʰ ᴀ ℵ \U0001d400 " * 6,
    "one letter": "a",
    "a mark and a letter": ",a",
}


@pytest.mark.models
@pytest.mark.parametrize("name", CLAUSES)
def test_a_clause_is_spoken_in_bounded_steps(voice, name):
    spoken = speakable(CLAUSES[name])
    assert spoken
    steps, work_s, sounds_s = 0, 0.0, 0.0
    parts = iter(voice.speak(spoken, "heart", 1.0, before="Well, I", goes_on=True))
    while True:
        begun = process_time()
        audio = next(parts, None)
        took_s = process_time() - begun
        work_s += took_s
        assert took_s < LONGEST_STEP_S
        if audio is None:
            break
        steps += 1
        sounds_s += audio.size / voice.sample_rate_hz
        assert audio.size / voice.sample_rate_hz < 60
        assert np.isfinite(audio).all()
    print(f"{name}: {steps} steps, {work_s:.2f} s of work for {sounds_s:.1f} s of sound")  # noqa: T201
    assert work_s < MOST_WORK_S
    assert sounds_s < 180


@pytest.mark.models
@pytest.mark.parametrize("text", ["", " ", "...", "?!", "😀", "—", "''", "\u0301"])
def test_what_holds_nothing_to_say_is_silence_and_no_failure(voice, text):
    assert list(voice.speak(text, "heart", 1.0)) == []


@pytest.mark.models
def test_five_thousand_digits_are_spoken_in_clauses_like_any_other(voice):
    clauses = Clauses()
    made = clauses.push("It is " + "31415926535" * 450) + clauses.flush()
    assert all(len(clause.spoken) <= 3 * LONGEST_CLAUSE_CHARS for clause in made)
    begun = process_time()
    first = next(iter(voice.speak(made[1].spoken, "heart", 1.0)))
    assert process_time() - begun < LONGEST_STEP_S
    assert 0 < first.size < 60 * voice.sample_rate_hz


@pytest.mark.models
@pytest.mark.parametrize("name", ["a long number"])
def test_the_slow_voice_has_bounded_steps_as_well(name):
    files = real.local_model("kokoro-82m-v1.0").files
    kokoro = KokoroTts(files["kokoro.onnx"], {"af_heart": files["af_heart.bin"]})
    parts = kokoro.speak(speakable(CLAUSES[name]), "af_heart", 1.0)
    assert 0 < next(parts).size < 15 * kokoro.sample_rate_hz
