"""The walk is what scripts/way_in measures with: it must end turns where the session does."""

import numpy as np

from tests.engines.walk import walk
from voiceedge.conversation.ending import ending
from voiceedge.conversation.waiting import Words, wait_ms
from voiceedge.engines import Segment

RATE_HZ = 16_000
FRAME = 512
SENTENCE = "I would like to go home."


class LevelVad:
    """Hears speech where the samples are not zero."""

    frame_samples = FRAME

    def open(self):
        return self

    def probability(self, frame):
        return float(np.any(frame))


class Complete:
    def __init__(self):
        self.heard = []

    def probability(self, audio):
        self.heard.append(audio)
        return 1.0


class Length:
    """Hears a sentence of as many tokens as it is given samples; nothing in less than a second and a half."""

    def transcribe(self, audio):
        yield Segment(SENTENCE, tokens=audio.size) if audio.size >= 1.5 * RATE_HZ else Segment("")


def silence(seconds):
    return np.zeros(round(seconds * RATE_HZ / FRAME) * FRAME, dtype=np.float32)


def speech(seconds):
    return silence(seconds) + np.float32(0.1)


def test_a_turn_goes_from_its_padding_to_the_decision():
    audio = np.concatenate([silence(1.0), speech(1.5), silence(1.0)])
    passed = []
    end_of_turn = Complete()
    way = walk(audio, LevelVad(), end_of_turn, Length(), passed.append)
    (heard,) = way.utterances
    assert way.started == 1
    assert heard.segments[0].tokens == round((heard.end_s - heard.begin_s) * RATE_HZ)
    assert abs(heard.begin_s - 0.7) < 0.05  # 300 ms of padding
    assert abs(heard.end_s - 2.7) < 0.05  # 200 ms of silence behind what is complete
    assert end_of_turn.heard[0].size >= 1.5 * RATE_HZ
    assert passed[-1] == audio.size / RATE_HZ


def test_what_nobody_judges_waits_for_longer():
    audio = np.concatenate([silence(1.0), speech(1.5), silence(3.0)])
    (heard,) = walk(audio, LevelVad(), None, Length()).utterances
    assert abs(heard.end_s - (2.5 + wait_ms(None, Words(ending(SENTENCE))) / 1000)) < 0.05


def test_a_turn_without_words_is_not_committed():
    way = walk(np.concatenate([speech(0.2), silence(2.5)]), LevelVad(), Complete(), Length())
    assert (way.started, len(way.utterances), way.committed) == (1, 1, [])
