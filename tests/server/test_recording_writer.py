"""What passed a socket, written down: sound on the tape, everything else as lines with their place on it."""

import base64
import json

import numpy as np
import pytest

from tests.server.test_recording_files import read
from voiceedge.protocol import server_events as out
from voiceedge.server.recording_files import EVENTS, Files
from voiceedge.server.recording_tape import RATE_HZ
from voiceedge.server.recording_writer import DEEPEST, Heard, Sent, Writer

PCM = "audio/pcm"


def base64_of(value, ms):
    return base64.b64encode(np.full(ms * RATE_HZ // 1000, value, "<i2").tobytes()).decode()


def append(value, ms):
    return {"type": "input_audio_buffer.append", "audio": base64_of(value, ms)}


def response(response_id="resp_1", status="in_progress", conversation_id="conv_1"):
    audio = out.ResponseAudio(out.ResponseAudioOutput({"type": PCM, "rate": RATE_HZ}, "heart"))
    return out.Response(
        id=response_id,
        status=status,
        conversation_id=conversation_id,
        output_modalities=("audio",),
        audio=audio,
        max_output_tokens="inf",
    )


def delta(value, ms, response_id="resp_1"):
    return out.OutputAudioDelta(
        response_id=response_id, item_id="item_" + response_id, output_index=0, delta=base64_of(value, ms)
    )


class Written:
    def __init__(self, tmp_path):
        self.at = 50.0
        self.files = Files(tmp_path / "one")
        self.writer = Writer(self.files, "sess_1", begun_at=1_795_473_791, consent="client", output_format="audio/pcmu")

    def heard(self, message, wire_format=PCM):
        text = message if isinstance(message, str | bytes) else json.dumps(message)
        self.writer.take(Heard(text, wire_format), self.at)

    def sent(self, event, *, interrupts=True):
        self.writer.take(Sent(event, interrupts), self.at)

    def lines(self):
        return [json.loads(line) for line in (self.files.folder / EVENTS).read_bytes().splitlines()]

    def ended(self):
        self.writer.end()
        first, *lines, last = self.lines()
        assert first["format"] == "voiceedge.recording/1"
        return read(self.files.folder), lines, last["event"]


@pytest.fixture
def written(tmp_path):
    written = Written(tmp_path)
    yield written
    written.files.close()


def test_a_turn_is_sound_and_lines_with_their_place(written):
    written.heard(append(1, 500))
    written.at += 0.1
    written.sent(out.ResponseCreated(response=response()))
    written.sent(delta(2, 300))
    written.sent(out.OutputAudioTranscriptDelta(response_id="resp_1", item_id="i", output_index=0, delta="Paris."))
    frames, lines, end = written.ended()
    assert (frames[: RATE_HZ // 2, 0] == 1).all()
    assert (frames[6 * RATE_HZ // 10 :, 1] == 2).all()
    assert [(line["at_s"], line["from"], line["event"]["type"]) for line in lines] == [
        (0.6, "node", "response.created"),
        (0.6, "node", "response.output_audio_transcript.delta"),
    ]
    assert lines[1]["event"]["delta"] == "Paris."
    assert end == {"type": "ended", "seconds": 0.9, "is_complete": True}


def test_the_first_line_says_what_it_is_and_who_agreed(written):
    (first,) = written.lines()
    assert first == {
        "format": "voiceedge.recording/1",
        "session": "sess_1",
        "begun_at": 1_795_473_791,
        "consent": "client",
        "rate_hz": 24_000,
        "channels": ["user", "agent"],
    }


@pytest.mark.parametrize(
    ("event", "interrupts", "heard_s"),
    [
        (out.SpeechStarted(audio_start_ms=0, item_id="u"), True, 0.5),
        (out.SpeechStarted(audio_start_ms=0, item_id="u"), False, 2.0),
        (out.ResponseDone(response=response(status="cancelled")), True, 0.5),
        (out.ResponseDone(response=response(status="completed")), True, 2.0),
    ],
)
def test_what_barge_in_cuts_off_is_not_on_it_and_the_cut_is_marked(written, event, interrupts, heard_s):
    written.sent(out.ResponseCreated(response=response()))
    written.sent(delta(2, 2000))
    written.at += 0.5
    written.sent(event, interrupts=interrupts)
    frames, lines, _ = written.ended()
    assert np.count_nonzero(frames[:, 1]) == pytest.approx(heard_s * RATE_HZ, abs=2)
    cuts = [line for line in lines if line["from"] == "recording"]
    assert [cut["event"] for cut in cuts] == ([{"type": "cut", "unheard_s": 1.5}] if heard_s < 2 else [])


def test_what_the_client_has_played_of_an_answer_is_what_stays(written):
    written.sent(out.ResponseCreated(response=response()))
    written.sent(delta(2, 2000))
    written.at += 1.0
    written.heard({"type": "conversation.item.truncate", "item_id": "item_resp_1", "audio_end_ms": 700})
    frames, lines, _ = written.ended()
    assert np.count_nonzero(frames[:, 1]) == 0.7 * RATE_HZ
    assert [line["event"]["type"] for line in lines[1:]] == ["conversation.item.truncate", "cut"]


@pytest.mark.parametrize("heard_ms", [-5, 10**400, 1e308, "x", None, [1]])
def test_nonsense_about_what_was_played_does_no_harm(written, heard_ms):
    written.sent(delta(2, 100, "resp_2"))
    written.heard({"type": "conversation.item.truncate", "item_id": "item_resp_2", "audio_end_ms": heard_ms})
    written.ended()


def test_an_answer_beside_the_conversation_is_not_stopped_by_speech(written):
    written.sent(out.ResponseCreated(response=response(conversation_id=None)))
    written.sent(delta(2, 1000))
    written.sent(out.SpeechStarted(audio_start_ms=0, item_id="u"))
    frames, _, _ = written.ended()
    assert np.count_nonzero(frames[:, 1]) == RATE_HZ


def test_sound_is_in_no_line_and_neither_are_keys_of_others(written):
    sound = base64_of(3, 100)
    written.heard(append(3, 100))
    written.sent(delta(3, 100))
    written.heard(
        {
            "type": "conversation.item.create",
            "item": {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": sound}]},
        }
    )
    tool = {"type": "mcp", "server_label": "x", "authorization": "MARKER", "headers": {"X-Key": "MARKER"}}
    written.heard({"type": "session.update", "session": {"tools": [tool], "instructions": "Be brief."}})
    written.ended()
    text = (written.files.folder / EVENTS).read_text()
    assert sound not in text
    assert "MARKER" not in text
    assert "Be brief." in text


@pytest.mark.parametrize(
    "message",
    [
        "{",
        b"\xff\xfe",
        "[" * 100_000,
        "[]",
        "7",
        '{"type": 7}',
        '{"type": "input_audio_buffer.append"}',
        '{"type": "input_audio_buffer.append", "audio": 7}',
        '{"type": "input_audio_buffer.append", "audio": "no base64!"}',
        '{"type": "x", "number": 1e999}',
        '{"type": "x", "half": "\\ud800"}',
        '{"type": "x", "deep": ' + "[" * 60 + "]" * 60 + "}",
    ],
)
def test_whatever_a_client_sends_is_a_line_that_can_be_read(written, message):
    written.heard(message)
    _, lines, end = written.ended()
    assert len(lines) == 1
    assert end["is_complete"]
    assert str(lines[0]).count("[") <= DEEPEST + 1


def test_what_was_missed_is_said_where_it_was_missed_and_at_the_end(written):
    written.heard(append(1, 1000))
    written.writer.missed(3, written.at)
    written.writer.missed(2, written.at)
    _, lines, end = written.ended()
    assert [line["event"] for line in lines] == [{"type": "missed", "messages": 3}, {"type": "missed", "messages": 2}]
    assert (end["is_complete"], end["missed"]) == (False, 5)
