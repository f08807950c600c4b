from itertools import groupby, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.audio.codec import codec
from voiceedge.audio.pcm import to_pcm16
from voiceedge.conversation.endpoint import Ended, EndpointSettings, Started, Undecided
from voiceedge.engines.fake import FakeVad
from voiceedge.errors import EngineFailed
from voiceedge.session.hear import AT_ONCE_FRAMES, KEPT_S, REMINDED_FRAMES, Hearing, milliseconds

PCM24 = "audio/pcm"
STATED = EndpointSettings(silence_ms=300, prefix_padding_ms=100, draft_after_ms=None)
LOOKAHEAD = 32
"""16 kHz samples that the resampler holds back."""


class Inline:
    """Runs a step where it is asked for."""

    async def run(self, work, *, deadline, name):
        return work()


class Unused:
    """A scheduler that nothing may reach."""

    async def run(self, work, *, deadline, name):
        raise AssertionError("the scheduler was asked")


class FrameByFrame(Hearing):
    """Looks at every frame as soon as it is complete."""

    def _fewest_frames(self):
        return 1


class Clock:
    """Stands until it is set."""

    def __init__(self, at=50.0):
        self.at = at

    def __call__(self):
        return self.at


def hearing(wire_format=PCM24, endpoint=STATED, clock=None):
    heard = Hearing(FakeVad(), Inline(), wire_format, clock or Clock())
    heard.set_endpoint(endpoint)
    return heard


def append(heard, data, *, agent_audible=False):
    """What one message of wire audio decides. Nothing in it waits, so no loop is needed."""

    async def collect():
        return [decision async for decision in heard.listen(data, agent_audible=agent_audible)]

    steps = collect()
    while True:
        try:
            assert steps.send(None) is None, "something waited"  # None: it only lets others run
        except StopIteration as done:
            return done.value


def sound(pattern, rate_hz=24_000):
    """Wire-ready samples: 100 ms a letter, a tone for V and silence for anything else."""
    step = rate_hz // 10
    tone = (np.sin(np.arange(step) * 2 * np.pi * 500 / rate_hz) * 0.3).astype(np.float32)
    return np.concatenate([tone if letter == "V" else np.zeros(step, np.float32) for letter in pattern])


def pcm(pattern):
    return to_pcm16(sound(pattern))


def g711(pattern):
    return codec("audio/pcmu").encode(sound(pattern, 8000))


def test_speech_is_found_where_it_is():
    started, ended = append(hearing(), pcm("...VVVV....."))
    assert milliseconds(started.start) == pytest.approx(200, abs=33)  # 300 less the padding, to the frame
    assert milliseconds(ended.last_voiced) == pytest.approx(700, abs=33)
    assert milliseconds(ended.end - ended.last_voiced) == pytest.approx(300, abs=33)


def test_silence_decides_nothing():
    assert append(hearing(), pcm("..........")) == []


def test_more_evidence_is_needed_while_the_agent_is_audible():
    short, long = pcm("..V....."), pcm("..VVV.....")
    assert [type(d) for d in append(hearing(), short)] == [Started, Ended]
    assert append(hearing(), short, agent_audible=True) == []
    assert [type(d) for d in append(hearing(), long, agent_audible=True)] == [Started, Ended]


@given(st.lists(st.integers(0, 40_000), max_size=12))
def test_how_the_audio_is_cut_into_messages_changes_nothing(cuts):
    data = pcm("..VVV..VV......VVVV.....") + b"\x01"  # an odd byte at the end
    whole, pieces = hearing(), hearing()
    expected = append(whole, data)
    at = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    decided = [d for begin, end in pairwise(at) for d in append(pieces, data[begin:end])]
    assert decided == expected
    assert [type(d) for d in decided] == [Started, Ended, Started, Ended]
    assert pieces.ring.end == whole.ring.end
    np.testing.assert_allclose(pieces.ring.read(0, 10**6), whole.ring.read(0, 10**6), atol=1e-6)


def test_a_sample_may_be_cut_in_two():
    heard = hearing()
    data = pcm("VVV")
    for begin in range(0, len(data), 1001):
        append(heard, data[begin : begin + 1001])
    assert heard.media.samples == 4800


@given(st.text("V.", min_size=1, max_size=14), st.integers(0, 767), st.booleans())
def test_nothing_is_decided_later_because_quiet_frames_are_looked_at_together(pattern, offset, agent_audible):
    data = bytes(2 * offset) + pcm(pattern + "....")  # speech begins anywhere in a frame
    lazy, eager = hearing(), FrameByFrame(FakeVad(), Inline(), PCM24, Clock())
    eager.set_endpoint(STATED)
    for begin in range(0, len(data), 960):
        message = data[begin : begin + 960]
        decided = append(lazy, message, agent_audible=agent_audible)
        assert decided == append(eager, message, agent_audible=agent_audible), begin // 960
        assert lazy.ring.end == eager.ring.end


def test_in_quiet_a_model_is_asked_once_for_all_frames_that_evidence_needs():
    asked_at = []

    class CountingVad(FakeVad):
        def probability(self, frame):
            asked_at.append(message)
            return super().probability(frame)

    heard = Hearing(CountingVad(), Inline(), PCM24, Clock())
    heard.set_endpoint(STATED)
    for message in range(30):
        append(heard, np.full(480, 5 * message, "<i2").tobytes())  # a room that grows louder
    assert [len(list(frames)) for _, frames in groupby(asked_at)][1:] == [3] * 5


class Model:
    """Notes the loudness of every frame that it is shown; stateful, as a real one."""

    frame_samples = 512

    def __init__(self):
        self.shown = []

    def open(self):
        return self

    def probability(self, frame):
        self.shown.append(float(np.abs(frame).max()))
        return FakeVad().probability(frame)


def listening_to(model):
    heard = Hearing(model, Inline(), PCM24, Clock())
    heard.set_endpoint(STATED)
    return heard


def room(seconds, level=0.001):
    return to_pcm16((np.random.default_rng(0).normal(0, level, round(24_000 * seconds))).astype(np.float32))


def in_messages(heard, data):
    return [d for begin in range(0, len(data), 960) for d in append(heard, data[begin : begin + 960])]


def test_a_model_is_asked_about_the_room_once_a_second():
    model = Model()
    assert in_messages(listening_to(model), room(10.0)) == []
    assert 10 * 3 <= len(model.shown) <= 11 * (3 + REMINDED_FRAMES)


def test_a_model_that_fails_is_told_of_once_although_it_is_asked_only_now_and_then():
    class Breaking(Model):
        works = True

        def probability(self, frame):
            if not self.works:
                raise RuntimeError("boom")
            return super().probability(frame)

    model = Breaking()
    heard = listening_to(model)
    in_messages(heard, room(5.0))
    model.works = False
    with pytest.raises(EngineFailed):
        in_messages(heard, room(3.0))
    assert in_messages(heard, room(5.0)) == []


def test_who_speaks_after_a_long_silence_is_heard_as_soon():
    data = room(7.0) + pcm("VVVV.....")
    lazy, eager = listening_to(Model()), FrameByFrame(FakeVad(), Inline(), PCM24, Clock())
    eager.set_endpoint(STATED)
    assert in_messages(lazy, data) == in_messages(eager, data)


def test_before_a_model_judges_it_sees_what_came_just_before():
    model = Model()
    heard = listening_to(model)
    in_messages(heard, room(2.5))
    shown = len(model.shown)
    in_messages(heard, pcm("VVV"))
    fresh = model.shown[shown:]
    assert max(fresh[:REMINDED_FRAMES]) < 0.01 < max(fresh[REMINDED_FRAMES:])


def test_whoever_speaks_is_looked_at_frame_by_frame_however_softly():
    model = Model()
    heard = listening_to(model)
    in_messages(heard, room(2.0) + pcm("VVVV"))
    shown = len(model.shown)
    in_messages(heard, room(0.2))
    assert len(model.shown) - shown >= 6


def test_the_ring_holds_what_has_arrived_whether_it_was_looked_at_or_not():
    heard = hearing()
    append(heard, pcm("V")[:960])
    assert heard.ring.end == 320 - LOOKAHEAD
    assert np.abs(heard.ring.read(0, 320)).max() > 0.25
    heard.set_format("audio/pcmu")
    assert heard.ring.end == 320


def test_only_a_burst_goes_to_the_scheduler():
    heard = Hearing(FakeVad(), Unused(), PCM24, Clock())
    heard.set_endpoint(STATED)
    size = AT_ONCE_FRAMES * 512 * 3
    for message in (pcm("..VVV.....")[begin : begin + size] for begin in range(0, 48_000, size)):
        append(heard, message)
    with pytest.raises(AssertionError, match="scheduler"):
        append(heard, bytes(48_000))


class Panic(BaseException):
    """What a library in Rust raises."""


@pytest.mark.parametrize("error", [RuntimeError, Panic])
def test_deafness_is_told_once_and_time_goes_on_until_it_is_over(error):
    class BrokenVad(FakeVad):
        works = False

        def probability(self, frame):
            if not self.works:
                raise error("boom")
            return super().probability(frame)

    vad = BrokenVad()
    heard = Hearing(vad, Inline(), PCM24, Clock())
    heard.set_endpoint(STATED)
    with pytest.raises(EngineFailed, match=error.__name__):
        append(heard, pcm("V"))
    assert append(heard, pcm("V")) == []
    vad.works = True
    started, _ = append(heard, pcm("..VVV....."))
    assert milliseconds(started.start) == pytest.approx(300, abs=33)  # 400 less the padding
    vad.works = False
    with pytest.raises(EngineFailed):
        append(heard, pcm("V"))


def test_a_burst_of_many_seconds_decides_the_same_as_real_time():
    data = pcm("..VVVVV" + "." * 30 + "VVVV" + "." * 10)
    live = hearing()
    decided = [d for begin in range(0, len(data), 960) for d in append(live, data[begin : begin + 960])]
    assert append(hearing(), data) == decided
    assert len(decided) == 4


def test_the_model_is_asked_in_the_pause_that_the_ring_still_holds():
    heard = hearing(endpoint=EndpointSettings(draft_after_ms=None))
    _, undecided = append(heard, pcm("VVVV...."))
    assert isinstance(undecided, Undecided)
    audio = heard.ring.read(0, undecided.end)
    assert audio.size == undecided.end
    assert np.abs(audio[2000:6000]).max() > 0.25


def test_telephone_audio_is_heard_at_the_same_places():
    pattern = "...VVVV....."
    for wide, narrow in zip(append(hearing(), pcm(pattern)), append(hearing("audio/pcmu"), g711(pattern)), strict=True):
        assert type(wide) is type(narrow)
        place = (lambda d: d.start) if isinstance(wide, Started) else (lambda d: d.end)
        assert abs(place(wide) - place(narrow)) <= 512


def test_positions_go_on_when_the_format_changes():
    heard = hearing()
    append(heard, pcm("....."))
    heard.set_format("audio/pcmu")
    started, ended = append(heard, g711("...VVVV....."))
    assert heard.media.samples == 16_000 * 17 // 10
    assert heard.media.samples - heard.ring.end <= 3 * LOOKAHEAD
    assert milliseconds(started.start) == pytest.approx(700, abs=40)
    assert milliseconds(ended.last_voiced) == pytest.approx(1200, abs=40)


def test_without_turn_detection_audio_is_kept_and_nothing_decided():
    heard = hearing(endpoint=None)
    assert append(heard, pcm("...VVVV.....")) == []
    assert heard.endpoint is None
    assert heard.ring.end == 16_000 * 12 // 10 - LOOKAHEAD
    assert np.abs(heard.ring.read(5000, 11_000)).max() > 0.25


def test_turn_detection_that_is_switched_on_begins_with_what_comes_then():
    heard = hearing(endpoint=None)
    append(heard, pcm("VVVVVVVV.."))
    before = heard.ring.end
    heard.set_endpoint(STATED)
    assert append(heard, pcm("...")) == []
    started, ended = append(heard, pcm("VVV....."))
    assert started.start > before
    assert milliseconds(started.start) == pytest.approx(1200, abs=40)
    assert milliseconds(ended.last_voiced) == pytest.approx(1600, abs=40)


def test_new_settings_take_effect_in_the_turn_that_is_being_heard():
    heard = hearing()
    append(heard, pcm("VVVV"))
    heard.set_endpoint(EndpointSettings(silence_ms=600, draft_after_ms=None))
    assert append(heard, pcm(".....")) == []
    assert isinstance(append(heard, pcm(".."))[0], Ended)


def test_the_moment_of_a_sample_is_when_it_arrived():
    clock = Clock(50.0)
    heard = hearing(clock=clock)
    append(heard, pcm("V"))
    clock.at = 50.4
    append(heard, pcm("V"))
    assert heard.moment(800) == pytest.approx(49.95)
    assert heard.moment(1600) == pytest.approx(50.3)
    assert heard.moment(2400) == pytest.approx(50.35)
    assert heard.moment(3200) == pytest.approx(50.4)


def test_memory_is_bounded():
    heard = hearing(endpoint=None)
    for _ in range(4):
        append(heard, bytes(48_000 * 100))
    assert heard.ring.end - heard.ring.begin == KEPT_S * 16_000
