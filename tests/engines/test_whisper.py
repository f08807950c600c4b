import re
from math import exp

import numpy as np
import pytest

from voiceedge.engines import Segment
from voiceedge.engines.whisper import (
    NO_SPEECH_ODDS,
    SILENCE_S,
    Whisper,
    _Heard,
    _is_nothing,
)
from voiceedge.engines.whisper_decoding import Decoded
from voiceedge.engines.windows import WINDOW_S
from voiceedge.errors import ConfigError, ModelCorrupt, ModelMissing
from voiceedge.modelstore.build.whisper import build_whisper

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def graph(weights, tmp_path_factory):
    """Builds the decoder of a model."""

    def build(model):
        folder = tmp_path_factory.mktemp(model)
        build_whisper(weights(model, "model.bin"), folder)
        return folder

    return build


@pytest.fixture(scope="module")
def tiny(weights, graph):
    return Whisper(weights("whisper-tiny.en"), graph=graph("whisper-tiny.en"))


@pytest.fixture(scope="module")
def base(weights, graph):
    return Whisper(weights("whisper-base"), graph=graph("whisper-base"))


@pytest.fixture(scope="module")
def without_graph(weights):
    return Whisper(weights("whisper-tiny.en"))


@pytest.fixture(params=["tiny", "base", "without_graph"])
def whisper(request):
    return request.getfixturevalue(request.param)


def words(segments):
    return re.findall(r"\w+", " ".join(segment.text for segment in segments).lower())


@pytest.mark.models
def test_what_was_said_is_heard(whisper, spoken):
    segments = list(whisper.transcribe(spoken("What is the capital of France?")))
    assert words(segments) == ["what", "is", "the", "capital", "of", "france"]
    assert segments[0].mean_log_probability > -0.5
    assert segments[0].no_speech_probability < 0.5


@pytest.mark.models
@pytest.mark.parametrize("text", ["Yes.", "Stop, stop!", "Bye bye."])
def test_a_word_or_two_do_not_loop(whisper, spoken, text):
    assert words(whisper.transcribe(spoken(text))) == words_of(text)


def words_of(text):
    return re.findall(r"\w+", text.lower())


@pytest.mark.models
@pytest.mark.parametrize(
    "audio",
    [
        np.zeros(3 * RATE_HZ, dtype=np.float32),
        np.random.default_rng(0).normal(0, 0.01, 3 * RATE_HZ).astype(np.float32),
        np.random.default_rng(0).normal(0, 0.2, RATE_HZ).astype(np.float32),
        (0.1 * np.sin(np.arange(4 * RATE_HZ) * 2 * np.pi * 50 / RATE_HZ)).astype(np.float32),
    ],
    ids=["silence", "hiss", "loud hiss", "hum"],
)
def test_no_words_are_made_out_of_silence_and_noise(whisper, audio):
    assert words(whisper.transcribe(audio)) == []


@pytest.mark.models
@pytest.mark.parametrize("gain_db", [-30, -45])
def test_a_microphone_that_is_turned_down_is_heard(whisper, spoken, gain_db):
    speech = spoken("What is the capital of France?")
    faint = np.round(speech * 10 ** (gain_db / 20) * 32768).astype(np.float32) / 32768  # as 16 bits bring it
    assert words(whisper.transcribe(faint)) == ["what", "is", "the", "capital", "of", "france"]


@pytest.mark.models
@pytest.mark.parametrize("seconds", [0.3, 2.0, 19.5, 20.5, 28.9, 29.0])
def test_audio_of_every_length_finds_silence_behind_it(tiny, seconds, monkeypatch):
    # as much as the model has places for; the decoder must never be given more than its 30 s
    given = []

    class Decoder:
        def decode(self, encoded, places, known, most):
            given.append(places)
            yield
            return Decoded((), 0.0, 0.0)

    monkeypatch.setattr(tiny, "_decoder", Decoder())
    audio = np.random.default_rng(0).normal(0, 0.1, round(seconds * RATE_HZ)).astype(np.float32)
    list(tiny.transcribe(audio))
    assert 50 * min(seconds + SILENCE_S, WINDOW_S) - 5 <= given[0] <= 50 * WINDOW_S


class Spy:
    """A decoder, and what it decoded."""

    def __init__(self, decoder):
        self.decoder = decoder
        self.decoded = []

    def decode(self, *arguments):
        self.decoded.append((yield from self.decoder.decode(*arguments)))
        return self.decoded[-1]


@pytest.fixture
def spied(tiny, monkeypatch):
    spy = Spy(tiny._decoder)
    monkeypatch.setattr(tiny, "_decoder", spy)
    return spy


QUESTION = "What is the capital of France, and how many people live there?"


@pytest.mark.models
def test_words_that_still_hold_are_not_decoded_again(tiny, spied, spoken):
    speech = spoken(QUESTION)
    earlier = list(tiny.transcribe(speech[: -RATE_HZ // 8]))
    assert words(earlier) == words_of(QUESTION)
    (segment,) = tiny.transcribe(speech, earlier)
    assert segment.text == earlier[0].text
    assert spied.decoded[-1].believed == len(spied.decoded[-1].tokens) == len(earlier[0].token_ids)


@pytest.mark.models
def test_in_steps_it_says_the_same_and_nothing_between(tiny, spoken):
    speech = spoken(QUESTION)
    *stops, segment = tiny.steps(speech)
    assert stops
    assert set(stops) == {None}
    assert [segment] == list(tiny.transcribe(speech))


@pytest.mark.models
@pytest.mark.parametrize("heard_s", [1.0, 2.0, 2.5])
def test_words_that_are_missing_are_decoded(tiny, spied, spoken, heard_s):
    speech = spoken(QUESTION)
    earlier = list(tiny.transcribe(speech[: round(heard_s * RATE_HZ)]))
    (segment,) = tiny.transcribe(speech, earlier)
    assert words([segment]) == words_of(QUESTION)
    assert segment.token_ids == next(tiny.transcribe(speech)).token_ids


@pytest.mark.models
@pytest.mark.parametrize(
    "wrong", ["What is the capital of Spain, and how many", "Good morning.", QUESTION + " Thank you.", QUESTION * 9]
)
def test_earlier_words_that_are_wrong_change_nothing(tiny, spoken, wrong):
    speech = spoken(QUESTION)
    known = tuple(tiny._vocabulary.encode(" " + wrong, add_special_tokens=False).ids)
    (alone,) = tiny.transcribe(speech)
    (segment,) = tiny.transcribe(speech, [Segment(wrong, token_ids=known)])
    assert segment.token_ids == alone.token_ids
    assert segment.mean_log_probability == pytest.approx(alone.mean_log_probability, abs=0.02)


@pytest.mark.models
@pytest.mark.parametrize("model", ["tiny", "base"])
def test_a_final_mark_is_likelier_behind_all_than_behind_a_beginning(request, model, spoken):
    whisper, speech = request.getfixturevalue(model), spoken(QUESTION)
    (whole,), (begun,) = whisper.transcribe(speech), whisper.transcribe(speech[: round(1.0 * RATE_HZ)])
    assert words([begun]) == words_of(QUESTION)[: len(words([begun]))]
    assert begun.marked + 0.1 < whole.marked  # "What is the capital?" is a question, too


@pytest.mark.models
def test_what_was_known_before_changes_nothing_about_the_mark(tiny, spoken):
    speech = spoken(QUESTION)
    (alone,) = tiny.transcribe(speech)
    assert tiny._vocabulary.decode([alone.token_ids[-1]]) == "?"
    for known in (alone.token_ids, alone.token_ids[:-1], alone.token_ids[:2]):
        (again,) = tiny.transcribe(speech, [Segment(alone.text, token_ids=known)])
        assert again.marked == pytest.approx(alone.marked, abs=0.02)


@pytest.mark.models
def test_without_a_graph_nobody_tells_of_marks(without_graph, spoken):
    assert [segment.marked for segment in without_graph.transcribe(spoken("Yes."))] == [None]


@pytest.mark.models
def test_a_loop_that_was_cut_is_cut_again(tiny, spied, spoken):
    # whatever the decoder knows: a text that runs in circles is judged by its time
    speech = spoken("Ten of clubs.")
    looped = tuple(tiny._vocabulary.encode(" Ten of clubs." * 5, add_special_tokens=False).ids)
    spied.decoder = Looping(looped)
    (segment,) = tiny.transcribe(speech, [Segment("", token_ids=looped)])
    assert words([segment]) == ["ten", "of", "clubs"]
    assert segment.tokens == len(looped)


class Looping:
    def __init__(self, tokens):
        self.tokens = tokens

    def decode(self, encoded, places, known, most):
        yield
        return Decoded(self.tokens, -0.1, 0.0, len(known))


@pytest.mark.models
def test_windows_that_were_complete_are_not_heard_again(tiny, spied, spoken):
    sentence = spoken("The train leaves the station in the early morning.")
    long = np.concatenate([sentence] * 12)
    begin = round(32.0 * RATE_HZ)
    earlier = list(tiny.transcribe(long[:begin]))
    assert len(earlier) == 2
    spied.decoded.clear()
    segments = list(tiny.transcribe(long, earlier))
    assert segments[0] is earlier[0]
    assert len(spied.decoded) == len(segments) - 1
    assert [segment.text for segment in segments] == [segment.text for segment in tiny.transcribe(long)]


@pytest.mark.models
def test_long_audio_comes_as_several_segments_and_loses_no_word_at_the_cuts(tiny, spoken):
    # sentences that are not alike: of near copies Whisper itself leaves one out now and then
    sentences = {
        "station": "The train leaves the station early in the morning.",
        "garden": "My sister planted three apple trees in her garden.",
        "doctor": "Please call the doctor before you come to the office.",
        "kitchen": "There is fresh bread on the table in the kitchen.",
        "museum": "We visited the museum on the first day of our holiday.",
        "weather": "The weather was cold and windy for most of the week.",
        "teacher": "A good teacher listens to the questions of the children.",
        "window": "Somebody left the window open during the night.",
        "letter": "He wrote a long letter to the mayor of the city.",
        "river": "The old bridge over the river was closed last year.",
    }
    audio = np.concatenate([spoken(sentence) for sentence in sentences.values()])
    segments = list(tiny.transcribe(audio))
    assert len(segments) > 1
    heard = words(segments)
    assert [word for word in heard if word in sentences] == list(sentences)


@pytest.mark.models
def test_no_audio_has_no_segments(tiny):
    assert list(tiny.transcribe(np.zeros(0, dtype=np.float32))) == []


@pytest.mark.models
def test_a_language_that_the_model_does_not_know_is_refused(weights):
    with pytest.raises(ConfigError, match="English"):
        Whisper(weights("whisper-tiny.en"), language="de")
    with pytest.raises(ConfigError, match="xx"):
        Whisper(weights("whisper-base"), language="xx")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelMissing, match=r"model\.bin"):
        Whisper(tmp_path)


@pytest.mark.models
def test_the_graph_of_another_model_is_refused(weights, graph, tmp_path):
    with pytest.raises(ModelCorrupt, match="another model"):
        Whisper(weights("whisper-base"), graph=graph("whisper-tiny.en"))
    with pytest.raises(ModelMissing, match=r"decoder\.onnx"):
        Whisper(weights("whisper-base"), graph=tmp_path)


def test_a_damaged_file_is_reported_with_its_folder(tmp_path):
    for name in ("model.bin", "config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes(b"not a model")
    with pytest.raises(ModelCorrupt, match=tmp_path.name):
        Whisper(tmp_path)


@pytest.mark.parametrize(
    ("text", "mean_log_probability", "no_speech", "nothing"),
    [
        ("...", -0.1, 0.0, True),
        ("Yes.", -0.7, 0.6, False),
        ("Seven.", -1.04, 0.68, False),
        ("I'm going to do that.", -1.7, 0.94, True),
        ("you", -1.0, NO_SPEECH_ODDS * exp(-1.0) + 0.01, True),
        ("you", -1.0, NO_SPEECH_ODDS * exp(-1.0) - 0.01, False),
    ],
)
def test_words_that_are_less_likely_than_nothing_are_nothing(text, mean_log_probability, no_speech, nothing):
    assert _is_nothing(text, _Heard((1,), 1, mean_log_probability, no_speech)) is nothing
