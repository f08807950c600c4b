import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.oracle import validate
from tests.protocol.order import check
from tests.protocol.samples import a_response
from voiceedge.errors import EngineFailed
from voiceedge.protocol.items import FunctionCallItem, MessageItem, OutputAudio, OutputText
from voiceedge.protocol.lifecycle import COMPLETED, INCOMPLETE, ResponseLifecycle, cancelled, failed
from voiceedge.protocol.server_events import encode
from voiceedge.protocol.usage import Usage

OUTCOMES = [
    COMPLETED,
    INCOMPLETE,
    cancelled("turn_detected"),
    cancelled("client_cancelled"),
    failed(EngineFailed("No.")),
]


def a_lifecycle(**params) -> ResponseLifecycle:
    return ResponseLifecycle("resp_1", a_response(**params), conversation_id="conv_1")


def names(events) -> list[str]:
    """Types of the events, each checked by OpenAI's."""
    return [validate(encode(event)).type for event in events]


def speech(life: ResponseLifecycle) -> list:
    return [
        *life.begin(),
        *life.open_message("item_a", "item_u"),
        *life.transcript("Hello "),
        *life.audio("AAAA"),
        *life.transcript("there."),
        *life.audio("BBBB"),
    ]


CLOSED_SPEECH = [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
]


def test_a_spoken_response_has_the_order_of_the_specification():
    life = a_lifecycle()
    events = [*speech(life), *life.finish(COMPLETED, Usage.counted(input_text=3, output_text=2))]
    assert names(events) == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        *CLOSED_SPEECH,
    ]
    created, added, in_conversation, part = events[:4]
    assert (created.response.status, created.response.output) == ("in_progress", ())
    assert added.item == in_conversation.item == MessageItem("item_a", "assistant", (), "in_progress")
    assert in_conversation.previous_item_id == "item_u"
    assert part.part.__struct_config__.tag == "audio"
    assert events[-5].transcript == events[-4].part.transcript == "Hello there."
    whole = MessageItem("item_a", "assistant", (OutputAudio("Hello there."),))
    done = events[-1].response
    assert events[-3].item == events[-2].item == whole
    assert events[-3].previous_item_id == "item_u"
    assert (done.status, done.status_details, done.output) == ("completed", None, (whole,))
    assert done.usage.total_tokens == 5


@pytest.mark.parametrize(
    ("outcome", "status", "reason"),
    [
        (cancelled("turn_detected"), "cancelled", "turn_detected"),
        (cancelled("client_cancelled"), "cancelled", "client_cancelled"),
        (INCOMPLETE, "incomplete", "max_output_tokens"),
        (failed(EngineFailed("No.")), "failed", None),
    ],
)
def test_a_response_that_ends_early_closes_what_is_open_and_says_why(outcome, status, reason):
    life = a_lifecycle()
    speech(life)
    assert life.said == "Hello there."
    events = life.finish(outcome)
    assert names(events) == CLOSED_SPEECH
    done = validate(encode(events[-1])).response
    assert (done.status, done.status_details.type, done.status_details.reason) == (status, status, reason)
    assert done.output[0].status == events[-2].item.status == "incomplete"
    assert done.output[0].content[0].transcript == "Hello there."
    assert done.usage is None


def test_a_failure_names_its_error():
    life = a_lifecycle()
    life.begin()
    error = validate(encode(life.finish(failed(EngineFailed("The voice broke.")))[-1])).response.status_details.error
    assert (error.type, error.code, error.message) == ("server_error", "engine_failed", "The voice broke.")


def test_a_written_response_has_no_sound():
    life = a_lifecycle(output_modalities=["text"])
    events = [*life.begin(), *life.open_message("item_a", None), *life.text("Hi"), *life.finish(COMPLETED)]
    assert names(events) == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    assert events[3].part.__struct_config__.tag == "text"
    assert events[-1].response.output == (MessageItem("item_a", "assistant", (OutputText("Hi"),)),)


def test_a_function_call_has_the_order_of_the_specification():
    life = a_lifecycle()
    events = [
        *life.begin(),
        *life.open_call("item_c", "call_1", "weather", "item_u"),
        *life.arguments('{"city":'),
        *life.arguments('"Bonn"}'),
        *life.close_call(),
        *life.finish(COMPLETED),
    ]
    assert names(events) == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    assert events[1].item == FunctionCallItem("item_c", "call_1", "weather", "", "in_progress")
    assert (events[5].name, events[5].arguments) == ("weather", '{"city":"Bonn"}')
    assert events[-1].response.output == (FunctionCallItem("item_c", "call_1", "weather", '{"city":"Bonn"}'),)


def test_a_call_that_was_cut_is_never_announced_as_ready_to_run():
    life = a_lifecycle()
    life.begin()
    life.open_call("item_c", "call_1", "weather", None)
    life.arguments('{"ci')
    events = life.finish(cancelled("turn_detected"))
    assert names(events) == ["conversation.item.done", "response.output_item.done", "response.done"]
    assert events[1].item.status == "incomplete"


def test_text_before_calls_is_an_item_of_its_own_and_every_call_is_one():
    life = a_lifecycle()
    speech(life)
    events = life.close_message()
    for index in (1, 2):
        events += life.open_call(f"item_{index}", f"call_{index}", "f", "item_a")
        events += life.close_call()
    events += life.finish(COMPLETED)
    names(events)
    added = [event.output_index for event in events if event.__struct_config__.tag == "response.output_item.added"]
    done = [event.output_index for event in events if event.__struct_config__.tag == "response.output_item.done"]
    assert (added, done) == ([1, 2], [0, 1, 2])
    assert [item.id for item in events[-1].response.output] == ["item_a", "item_1", "item_2"]
    assert life.output == events[-1].response.output


def test_an_out_of_band_response_does_not_show_in_the_conversation():
    life = a_lifecycle(conversation="none", metadata={"topic": "mood"})
    events = [*speech(life), *life.finish(COMPLETED)]
    assert not [name for name in names(events) if name.startswith("conversation.")]
    for response in (events[0].response, events[-1].response):
        assert response.conversation_id is None
        assert response.metadata == {"topic": "mood"}


def test_a_response_shows_its_settings_from_the_start_to_the_end():
    life = a_lifecycle(
        metadata={"client_event_id": "e"},
        max_output_tokens=7,
        audio={"output": {"voice": "marin", "format": {"type": "audio/pcmu"}}},
    )
    for event in (*life.begin(), *life.finish(COMPLETED)):
        response = validate(encode(event)).response
        assert (response.id, response.conversation_id) == ("resp_1", "conv_1")
        assert response.metadata == {"client_event_id": "e"}
        assert response.max_output_tokens == 7
        assert (response.audio.output.voice, response.audio.output.format.type) == ("marin", "audio/pcmu")


def test_a_response_may_end_before_it_says_anything():
    life = a_lifecycle()
    assert names([*life.begin(), *life.finish(cancelled("turn_detected"))]) == ["response.created", "response.done"]


def test_empty_deltas_are_not_sent():
    written = a_lifecycle(output_modalities=["text"])
    written.begin()
    written.open_message("item_a", None)
    assert written.text("") == []
    life = a_lifecycle()
    life.begin()
    life.open_message("item_a", None)
    assert [*life.transcript(""), *life.audio("")] == []
    life.close_message()
    life.open_call("item_c", "call_1", "f", None)
    assert life.arguments("") == []


def test_finishing_twice_does_nothing():
    life = a_lifecycle()
    life.begin()
    life.finish(COMPLETED)
    assert life.finish(cancelled("turn_detected")) == []
    assert life.is_finished
    with pytest.raises(RuntimeError, match="not running"):
        life.open_message("item_a", None)


def test_what_the_modality_does_not_allow_is_a_mistake():
    written = a_lifecycle(output_modalities=["text"])
    written.begin()
    written.open_message("item_a", None)
    for call in (written.transcript, written.audio):
        with pytest.raises(RuntimeError, match="not audio"):
            call("AAAA")
    spoken = a_lifecycle()
    speech(spoken)
    with pytest.raises(RuntimeError, match="not text"):
        spoken.text("Hi")


STEPS = {
    "begin": lambda life: life.begin(),
    "open_message": lambda life: life.open_message(f"item_{len(life.output)}", None),
    "transcript": lambda life: life.transcript("a"),
    "audio": lambda life: life.audio("AAAA"),
    "text": lambda life: life.text("a"),
    "close_message": lambda life: life.close_message(),
    "open_call": lambda life: life.open_call(f"item_{len(life.output)}", "call_1", "f", None),
    "arguments": lambda life: life.arguments("{}"),
    "close_call": lambda life: life.close_call(),
    **{f"finish_{index}": (lambda life, end=end: life.finish(end)) for index, end in enumerate(OUTCOMES)},
}


@given(
    st.lists(st.sampled_from(sorted(STEPS)), max_size=25),
    st.sampled_from(OUTCOMES),
    st.sampled_from(["audio", "text"]),
    st.sampled_from(["auto", "none"]),
)
def test_whatever_is_called_every_response_ends_exactly_once_with_all_closed(steps, outcome, modality, conversation):
    life = a_lifecycle(output_modalities=[modality], conversation=conversation)
    events = life.begin()
    for step in steps:
        before = (life.output, life.said, life.is_finished)
        try:
            events += STEPS[step](life)
        except RuntimeError:
            assert before == (life.output, life.said, life.is_finished)
    events += life.finish(outcome)
    assert names(events).count("response.done") == 1
    check(json.loads(encode(event)) for event in events)


@pytest.mark.parametrize("step", sorted(STEPS))
def test_the_start_comes_once_and_before_all_else(step):
    life = a_lifecycle()
    if step != "begin":
        with pytest.raises(RuntimeError):
            STEPS[step](life)
    assert names(life.begin()) == ["response.created"]
    with pytest.raises(RuntimeError):
        life.begin()


def test_only_an_open_message_has_said_something():
    life = a_lifecycle()
    assert life.said == ""
    speech(life)
    life.close_message()
    assert life.said == ""
