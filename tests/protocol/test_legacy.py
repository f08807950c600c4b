import json
from typing import Annotated

import msgspec
import pytest
from openai.types.beta.realtime import RealtimeServerEvent
from openai.types.beta.realtime.session import Session
from pydantic import Field, TypeAdapter

from tests.protocol.samples import a_response, a_session, event_classes, sample
from voiceedge.protocol import server_events as events
from voiceedge.protocol.legacy import encode_legacy, session_from_beta
from voiceedge.protocol.lifecycle import COMPLETED, ResponseLifecycle
from voiceedge.protocol.session_config import merge

BETA = TypeAdapter(Annotated[RealtimeServerEvent, Field(discriminator="type")])
NEWER_THAN_BETA = {
    "input_audio_buffer.timeout_triggered",
    "conversation.item.input_audio_transcription.segment",
}


@pytest.mark.parametrize("kind", event_classes(), ids=lambda kind: kind.__name__)
def test_every_event_satisfies_openais_beta_types(kind):
    text = encode_legacy(sample(kind))
    tag = kind.__struct_config__.tag
    if tag == "conversation.item.done":
        assert text is None
    elif tag not in NEWER_THAN_BETA:
        assert json.loads(text)["event_id"]
        BETA.validate_json(text)


def test_a_spoken_response_carries_only_the_betas_names():
    life = ResponseLifecycle("resp_1", a_response(), conversation_id="conv_1")
    made = [
        *life.begin(),
        *life.open_message("item_a", "item_u"),
        *life.transcript("Hi"),
        *life.audio("AAAA"),
        *life.finish(COMPLETED),
    ]
    sent = [json.loads(text) for event in made if (text := encode_legacy(event)) is not None]
    assert [event["type"] for event in sent] == [
        "response.created",
        "response.output_item.added",
        "conversation.item.created",
        "response.content_part.added",
        "response.audio_transcript.delta",
        "response.audio.delta",
        "response.audio.done",
        "response.audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.done",
    ]
    assert sent[-2]["item"]["content"] == [{"type": "audio", "transcript": "Hi"}]
    response = sent[-1]["response"]
    assert response["output"][0]["content"] == [{"type": "audio", "transcript": "Hi"}]
    assert (response["modalities"], response["voice"]) == (["audio", "text"], "hibari")
    assert (response["output_audio_format"], response["max_response_output_tokens"]) == ("pcm16", "inf")
    assert response.keys().isdisjoint({"audio", "output_modalities", "max_output_tokens"})


def test_a_session_is_flat():
    session = merge(
        a_session(model="gpt-realtime"),
        {
            "input_audio_format": "g711_ulaw",
            "modalities": ["text"],
            "input_audio_transcription": {"model": "whisper-1"},
            "temperature": 0.8,
        },
    )
    shown = json.loads(encode_legacy(events.SessionUpdated(session=session.echo())))["session"]
    Session.model_validate(shown)
    assert "type" not in shown
    assert "audio" not in shown
    assert (shown["input_audio_format"], shown["output_audio_format"]) == ("g711_ulaw", "pcm16")
    assert shown["input_audio_transcription"] == {"model": "whisper-1"}
    assert shown["modalities"] == ["text"]
    assert shown["turn_detection"]["interrupt_response"] is True
    assert (shown["voice"], shown["speed"], shown["temperature"]) == ("hibari", 1.0, 0.8)
    assert shown["max_response_output_tokens"] == "inf"


def test_a_transcription_session_is_flat_too():
    echo = a_session(kind="transcription").echo()
    created = json.loads(encode_legacy(events.SessionCreated(session=echo)))
    updated = json.loads(encode_legacy(events.SessionUpdated(session=echo)))
    assert (created["type"], updated["type"]) == ("transcription_session.created", "transcription_session.updated")
    shown = created["session"]
    assert (shown["input_audio_format"], shown["input_audio_transcription"]) == ("pcm16", {"model": "whisper"})
    assert "voice" not in shown


@pytest.mark.parametrize(
    ("beta", "ga"),
    [
        ({"instructions": "a"}, {"instructions": "a"}),
        ({"modalities": ["text"]}, {"output_modalities": ["text"]}),
        ({"modalities": ["text"], "output_modalities": ["audio"]}, {"output_modalities": ["audio"]}),
        ({"turn_detection": None}, {"audio": {"input": {"turn_detection": None}}}),
        (
            {"voice": "a", "audio": {"output": {"voice": "b"}, "input": {}}},
            {"audio": {"output": {"voice": "b"}, "input": {}}},
        ),
        ({"voice": "a", "audio": {"input": {"x": 1}}}, {"audio": {"input": {"x": 1}, "output": {"voice": "a"}}}),
        ({"output_audio_format": "pcm16"}, {"audio": {"output": {"format": {"type": "audio/pcm"}}}}),
        ({"input_audio_format": "opus"}, {"audio": {"input": {"format": {"type": "opus"}}}}),
        ({"voice": "a", "audio": 3}, {"audio": 3}),
        ({"max_response_output_tokens": 5}, {"max_output_tokens": 5}),
        (
            {"input_audio_noise_reduction": None, "input_audio_transcription": {"model": "m"}, "speed": 1},
            {"audio": {"input": {"transcription": {"model": "m"}, "noise_reduction": None}, "output": {"speed": 1}}},
        ),
    ],
)
def test_beta_keys_go_where_ga_has_them_unless_that_is_taken(beta, ga):
    before = msgspec.json.encode(beta)
    assert session_from_beta(beta) == ga
    assert msgspec.json.encode(beta) == before
