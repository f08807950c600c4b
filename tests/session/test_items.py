from voiceedge.conversation.history import FunctionCall, Item, Line, SpokenClause
from voiceedge.protocol.items import InputAudio, MessageItem, OutputAudio, OutputText, parse_item
from voiceedge.session.items import audio_in, from_wire, to_wire


def test_a_clients_text_comes_back_as_it_was():
    wire = parse_item(
        {"id": "i1", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
    )
    item = from_wire(wire)
    assert (item.id, item.role, item.text, item.modality) == ("i1", "user", "hi", "text")
    assert to_wire(item) == wire


def test_speech_that_a_client_brings_has_no_words_yet_and_is_not_sent_back():
    wire = parse_item({"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "AAAA"}]})
    item = from_wire(wire)
    assert audio_in(wire) == "AAAA"
    assert item.text is None
    assert item.line is None
    shown = to_wire(item)
    assert isinstance(shown, MessageItem)
    assert shown.content == (InputAudio(transcript=None),)


def test_speech_with_a_transcript_needs_no_ears():
    part = {"type": "input_audio", "audio": "AAAA", "transcript": "hello"}
    wire = parse_item({"type": "message", "role": "user", "content": [part]})
    assert audio_in(wire) is None
    assert from_wire(wire).text == "hello"


def test_an_interrupted_answer_is_shown_as_far_as_it_was_heard():
    clause = SpokenClause("one two three four", 0.0, 1000.0)
    item = Item("a", "message", "assistant", clause.text, modality="audio", is_complete=False, clauses=(clause,))
    heard = Item(**{name: getattr(item, name) for name in Item.__slots__} | {"heard_ms": 500.0})
    shown = to_wire(heard)
    assert isinstance(shown, MessageItem)
    assert shown.status == "incomplete"
    assert shown.content == (OutputAudio(transcript="one two"),)


def test_a_written_answer_is_text():
    shown = to_wire(Item("a", "message", "assistant", "hi"))
    assert isinstance(shown, MessageItem)
    assert shown.content == (OutputText(text="hi"),)


def test_what_a_function_returned_is_shown_to_the_model_and_comes_back_to_the_client():
    wire = parse_item({"type": "function_call_output", "call_id": "c", "output": "42"})
    item = from_wire(wire)
    assert item.kind == "function_call_output"
    assert item.line == Line("tool", "42")
    assert to_wire(item) == wire


def test_a_call_that_a_client_replays_comes_back_as_it_was():
    wire = parse_item({"type": "function_call", "call_id": "c", "name": "look", "arguments": '{"at": "é"}'})
    item = from_wire(wire)
    assert item.line == Line("assistant", "", calls=(FunctionCall("c", "look", '{"at": "é"}'),))
    assert to_wire(item) == wire
