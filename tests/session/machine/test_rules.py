"""The rules must be able to fail: a good recording breaks one as soon as an event is lost, doubled, late or wrong."""

import json
from functools import cache

import pytest

from tests.protocol.samples import a_response, a_session
from tests.session.machine.moves import Move, Ref, Script, Setting, _input
from tests.session.machine.play import play
from tests.session.machine.rules import RULES, Rules
from tests.session.machine.seen import Broken, Request
from voiceedge.protocol import server_events as out
from voiceedge.protocol.lifecycle import COMPLETED, ResponseLifecycle
from voiceedge.protocol.server_events import encode

TRANSCRIBED = _input(transcription={"model": "whisper-1"})
DELTAS = (".delta",)


def a_turn(pause_s=0.0):
    return Move(pause_s, "turn", {"speech_ms": 400, "silence_ms": 800, "chunk_ms": 400})


def a_move(kind, pause_s=4.0, **details):
    return Move(pause_s, kind, details)


CONVERSATION = Script(
    Setting(opening=TRANSCRIBED, tts_s=1.2, stt_s=0.01),
    (
        a_turn(),
        a_turn(1.5),  # barges in
        a_move("conversation.item.truncate", item_id=Ref("answer"), audio_end_ms=150),
        a_move("response.create", response={"output_modalities": ["text"]}, tagged=True),
        a_move("response.create", response={}, tagged=True),
        a_move("response.cancel", 0.02, whom="what runs by its id"),
        a_move("response.cancel", whom="whatever runs"),
        a_move(
            "conversation.item.create", item={"type": "message", "role": "user", "content": []}, id=None, behind="root"
        ),
        a_move("conversation.item.retrieve", item_id=Ref("any")),
        a_move("conversation.item.delete", item_id=Ref("any")),
        a_move("session.update", session={"instructions": "Be brief.", "max_output_tokens": 2}),
        a_move("response.create", response={}, tagged=False),
        a_move("input_audio_buffer.append", sound="silence", ms=250, cut_bytes=0),
        a_move("input_audio_buffer.clear", 0.1),
        a_move("input_audio_buffer.append", sound="silence", ms=250, cut_bytes=0),
        a_move("input_audio_buffer.commit", 0.1),
    ),
)


@cache
def conversation():
    return tuple(play(CONVERSATION).log)


def a_request(kind, number, **fields):
    event = {"type": kind, "event_id": f"evt_{number}", **fields}
    return Request(kind, event, event["event_id"], is_bad=False, audio_ms=0.0)


@cache
def a_call():
    """A text before a call, as the protocol's description has it."""
    life = ResponseLifecycle("resp_1", a_response(output_modalities=["text"]), conversation_id="conv_1")
    events = [
        *life.begin(),
        *life.open_message("item_a", None),
        *life.text("I look it up."),
        *life.close_message(),
        *life.open_call("item_c", "call_1", "weather", "item_a"),
        *life.arguments('{"city": '),
        *life.arguments('"Paris"}'),
        *life.close_call(),
        *life.finish(COMPLETED),
    ]
    first = encode(out.SessionCreated(session=a_session().echo()))
    tools = [{"type": "function", "name": "weather", "parameters": {}}]
    asked = a_request("response.create", 1, response={"output_modalities": ["text"], "tools": tools})
    return (first, asked, *map(encode, events), None)


@cache
def a_timeout():
    """Nobody has said anything for a while."""
    patched = {"audio": {"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 6000}}}}
    session = a_session().echo()
    session["audio"]["input"]["turn_detection"] |= {"idle_timeout_ms": 6000}
    item = {"id": "item_t", "object": "realtime.item", "type": "message", "role": "user", "status": "completed"}
    item["content"] = [{"type": "input_audio", "transcript": None}]
    life = ResponseLifecycle("resp_1", a_response(output_modalities=["text"]), conversation_id="conv_1")
    events = [
        {"type": "session.created", "session": a_session().echo()},
        {"type": "session.updated", "session": session},
        {"type": "input_audio_buffer.timeout_triggered", "audio_start_ms": 0, "audio_end_ms": 9, "item_id": "item_t"},
        {"type": "input_audio_buffer.committed", "item_id": "item_t", "previous_item_id": None},
        {"type": "conversation.item.added", "item": item, "previous_item_id": None},
        {"type": "conversation.item.done", "item": item, "previous_item_id": None},
    ]
    texts = [json.dumps({**event, "event_id": f"event_{number}"}) for number, event in enumerate(events)]
    answer = [*life.begin(), *life.open_message("item_a", "item_t"), *life.finish(COMPLETED)]
    return (texts[0], a_request("session.update", 1, session=patched), *texts[1:], *map(encode, answer), None)


RECORDINGS = {"conversation": conversation, "call": a_call, "timeout": a_timeout}


def broken_by(log):
    """Name of the first rule that a log breaks, None when it breaks none."""
    rules = Rules(words=True)
    try:
        for entry in log:
            if isinstance(entry, Request):
                rules.sent(entry)
            elif entry is None:
                rules.quiet()
            else:
                rules.received(entry)
    except Broken as broken:
        return broken.rule
    return None


def changed(text, /, **changes):
    """An event with other values at some paths, written as `response__status="failed"`; `None` values stay nulls."""
    event = json.loads(text)
    for path, value in changes.items():
        *way, last = path.split("__")
        place = event
        for key in way:
            place = place[int(key) if isinstance(place, list) else key]
        place[int(last) if isinstance(place, list) else last] = value
    return json.dumps(event)


def kind_of(entry):
    return json.loads(entry)["type"] if isinstance(entry, str) else None


def events_of(name):
    """Places of the events of a recording that may not be lost or come twice."""
    return [place for place, entry in enumerate(RECORDINGS[name]()) if kind_of(entry)]


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_good_recording_breaks_no_rule(name):
    assert broken_by(RECORDINGS[name]()) is None


CASES = [(name, place) for name in RECORDINGS for place in events_of(name)]
UNCOUNTED = {
    "response.output_audio.delta",
    "conversation.item.input_audio_transcription.delta",
    "rate_limits.updated",  # nothing hangs on limits that are none
}
"""Nothing on the wire says how many there are."""


def may_be_lost(log, place):
    """A cancelled answer takes the captions with it that have not been sent."""
    event = json.loads(log[place])
    ends = [json.loads(entry)["response"] for entry in log if kind_of(entry) == "response.done"]
    cancelled = {end["id"] for end in ends if end["status"] == "cancelled"}
    return event["type"].endswith("transcript.delta") and event["response_id"] in cancelled


@pytest.mark.parametrize(("name", "place"), CASES)
def test_an_event_that_is_lost_breaks_a_rule(name, place):
    log = RECORDINGS[name]()
    unnoticed = kind_of(log[place]) in UNCOUNTED or may_be_lost(log, place)
    assert unnoticed or broken_by((*log[:place], *log[place + 1 :])), log[place]


@pytest.mark.parametrize(("name", "place"), CASES)
def test_an_event_that_comes_twice_breaks_a_rule(name, place):
    log = RECORDINGS[name]()
    again = changed(log[place], event_id="event_again")
    assert kind_of(again) in UNCOUNTED or broken_by((*log[: place + 1], again, *log[place + 1 :])), again


@pytest.mark.parametrize(("name", "place"), CASES)
def test_an_event_that_comes_late_breaks_a_rule(name, place):
    log = RECORDINGS[name]()
    rest = [entry for entry in log[place + 1 :] if entry is not None]
    unnoticed = may_be_late(log[place], {kind_of(entry) for entry in rest}) or may_be_lost(log, place)
    assert unnoticed or broken_by((*log[:place], *rest, log[place], None)), log[place]


def may_be_late(text, later):
    """Words may be told at any time, and when a response or an item is over matters to what comes after it."""
    match json.loads(text):
        case {"type": "response.done"}:
            return "response.created" not in later
        case {"type": "conversation.item.done", "item": {"role": "user"}}:
            return True
        case {"type": kind}:
            return kind in UNCOUNTED or kind == "conversation.item.input_audio_transcription.completed"


def where(log, kind, number=0):
    """Place of the event of a type; `number` counts them."""
    return [place for place, entry in enumerate(log) if kind_of(entry) == kind][number]


def lie(name, kind, number=0, /, **changes):
    """A recording with one event changed."""
    log = RECORDINGS[name]()
    place = where(log, kind, number)
    return (*log[:place], changed(log[place], **changes), *log[place + 1 :])


def without(name, *kinds):
    """A recording without events of some types, or without its requests."""
    return [one for one in RECORDINGS[name]() if (kind_of(one) or getattr(one, "type", "quiet")) not in kinds]


def with_another(name, kind, behind, number=0, **changes):
    """A recording with a changed copy of its first event of a type put behind the event of another."""
    log = RECORDINGS[name]()
    place = where(log, behind, number) + 1
    return (*log[:place], changed(log[where(log, kind)], event_id="event_more", **changes), *log[place:])


def until(name, kind):
    """A recording that falls quiet before the first event of a type."""
    log = RECORDINGS[name]()
    return (*log[: where(log, kind)], None)


def heard_by(kind):
    """The recording of a call in a session of another kind."""
    log = a_call()
    return (encode(out.SessionCreated(session=a_session(kind=kind).echo())), *log[1:])


FAILED = {"type": "failed", "error": {"type": "server_error", "code": "engine_failed"}}
EARLY = [{"type": "input_audio", "transcript": "too early"}]
LIES = {
    "every event has an id of its own": lambda: lie(
        "call", "response.done", event_id=json.loads(a_call()[0])["event_id"]
    ),
    "every event fits OpenAI's types": lambda: lie("call", "response.done", response__object="answer"),
    "session.created comes first, and once": lambda: without("conversation", "session.created"),
    "a response's events come in their order": lambda: without("call", "response.content_part.done"),
    "one response at a time in the conversation": lambda: with_another(
        "call", "response.created", "response.created", response__id="resp_2"
    ),
    "all responses name the session's conversation, or none": lambda: lie(
        "call", "response.done", response__conversation_id="conv_2"
    ),
    "a response begins in progress and empty": lambda: lie("call", "response.created", response__status="completed"),
    "a transcription session makes no responses": lambda: heard_by("transcription"),
    "nothing is said after the user interrupts": lambda: with_another(
        "conversation", "response.output_audio.delta", "input_audio_buffer.speech_started", 1
    ),
    "an interrupted response ends as cancelled by the turn": lambda: lie(
        "conversation", "response.done", response__status_details__reason="client_cancelled"
    ),
    "a response ends for a reason": lambda: lie(
        "call", "response.done", response__status="failed", response__status_details=FAILED
    ),
    "a response keeps to its modality": lambda: lie("call", "response.created", response__output_modalities=["audio"]),
    "audio comes in whole samples": lambda: lie("conversation", "response.output_audio.delta", delta="AA=="),
    "what is said adds up": lambda: lie("call", "response.output_text.done", text="I looked it up."),
    "metadata comes back as it was sent": lambda: lie("conversation", "response.done", 2, response__metadata=None),
    "a response is what was asked for": lambda: lie(
        "conversation", "response.created", 2, response__output_modalities=["audio"]
    ),
    "function calls are whole, named, and asked for": lambda: lie(
        "call", "response.function_call_arguments.done", arguments="{}"
    ),
    "speech begins, then stops, under one id": lambda: lie(
        "conversation", "input_audio_buffer.speech_stopped", item_id="item_other"
    ),
    "times are those of the audio that was sent": lambda: lie(
        "conversation", "input_audio_buffer.speech_stopped", audio_end_ms=60_000
    ),
    "previous_item_id names the item before": lambda: lie(
        "conversation", "input_audio_buffer.committed", 1, previous_item_id=None
    ),
    "an item is added, then done, once": lambda: lie(
        "conversation", "conversation.item.done", item__status="in_progress"
    ),
    "a retrieved item is the one that was announced": lambda: lie(
        "conversation", "conversation.item.retrieved", item__id="item_other"
    ),
    "what is committed becomes an item at once": lambda: lie(
        "conversation", "conversation.item.added", item__content=EARLY
    ),
    "speech with words in it is committed": lambda: until("conversation", "input_audio_buffer.committed"),
    "a transcription is asked for, and ends once": lambda: with_another(
        "conversation",
        "conversation.item.input_audio_transcription.completed",
        "conversation.item.input_audio_transcription.completed",
    ),
    "an idle timeout was asked for and is followed by its item": lambda: without("timeout", "session.updated"),
    "every response.create is answered": lambda: until("call", "response.created"),
    "every response.cancel is answered": lambda: (a_call()[0], a_request("response.cancel", 1), None),
    "a truncate cuts where it was asked to": lambda: lie(
        "conversation", "conversation.item.truncated", audio_end_ms=9_000
    ),
    "session.updated echoes what was asked for": lambda: lie(
        "conversation", "session.updated", 1, session__instructions="Be long."
    ),
    "the voice can be chosen until it has spoken": lambda: (
        a_call()[0],
        a_request("session.update", 1, session={"audio": {"output": {"voice": "ash"}}}),
        encode(out.SessionUpdated(session=a_session().echo())),
    ),
    "a turn with words gets a response": lambda: until("conversation", "response.created"),
    "every response has a cause": lambda: without("call", "response.create"),
    "every request is answered, in order": lambda: without("conversation", "input_audio_buffer.cleared"),
}


def test_every_rule_has_a_lie():
    assert set(LIES) == {rule.name for rule in RULES}


@pytest.mark.parametrize("rule", LIES)
def test_every_rule_can_fail(rule):
    assert broken_by(LIES[rule]()) == rule
