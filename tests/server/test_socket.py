"""What a handshake brings, over real sockets: client secrets, and the beta's header."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from openai import AsyncOpenAI
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.e2e.nodes import running_node
from voiceedge.engines.fake import fake_engines
from voiceedge.server.client_secrets import ClientSecrets

SECRET = "a secret of more than thirty-two bytes"
SETTINGS = {
    "type": "realtime",
    "model": "gpt-realtime",
    "instructions": "Be brief.",
    "output_modalities": ["text"],
    "audio": {"input": {"turn_detection": None}, "output": {"voice": "marin"}},
}


@pytest.fixture(scope="module")
def node():
    with running_node(fake_engines(slots=4), max_sessions=2, secret=SECRET) as node:
        yield node


def made(session, now=None):
    secrets = ClientSecrets(SECRET) if now is None else ClientSecrets(SECRET, lambda: now)
    return secrets.make(session, 60).value


def ways(key):
    """The arguments of `connect` by which clients bring a key."""
    return [
        {"additional_headers": {"Authorization": f"Bearer {key}"}},
        {"additional_headers": {"api-key": key}},
        {"subprotocols": ["realtime", f"openai-insecure-api-key.{key}", "openai-agents-sdk.0.20.0"]},
    ]


@asynccontextmanager
async def session_of(url, **arguments):
    async with connect(url, **arguments) as socket:
        yield socket, json.loads(await socket.recv())["session"]


async def refusal(url, **arguments):
    with pytest.raises(InvalidStatus) as refused:
        await connect(url, **arguments)
    response = refused.value.response
    return response.status_code, json.loads(response.body)["error"], response.headers


@pytest.mark.parametrize("way", range(3))
async def test_a_session_begins_with_the_settings_of_its_client_secret(node, way):
    async with session_of(node.url, **ways(made(SETTINGS))[way]) as (socket, session):
        assert (session["model"], session["instructions"]) == ("gpt-realtime", "Be brief.")
        assert session["audio"]["input"]["turn_detection"] is None
        assert session["audio"]["output"]["voice"] == "marin"
        assert socket.subprotocol == (None if way < 2 else "realtime")


async def test_the_client_may_say_otherwise_and_a_secret_opens_more_than_one_session(node):
    key = ways(made(SETTINGS))[0]
    async with session_of(f"{node.url}?model=mine", **key) as (socket, session):
        assert session["model"] == "mine"
        await socket.send(json.dumps({"type": "session.update", "session": {"instructions": "Be long."}}))
        updated = json.loads(await socket.recv())["session"]
        assert (updated["instructions"], updated["output_modalities"]) == ("Be long.", ["text"])
    async with session_of(node.url, **key) as (_, session):
        assert session["instructions"] == "Be brief."


async def test_a_secret_for_transcription_makes_a_transcription_session(node):
    key = ways(made({"type": "transcription", "audio": {"input": {"format": {"type": "audio/pcmu"}}}}))[0]
    async with session_of(node.url, **key) as (_, session):
        assert (session["type"], session["audio"]["input"]["format"]) == ("transcription", {"type": "audio/pcmu"})


@pytest.mark.parametrize("way", range(3))
@pytest.mark.parametrize(
    ("key", "code"), [("ek_forged", "invalid_api_key"), (made({}, now=1_000_000), "token_expired")]
)
async def test_a_secret_that_is_not_good_is_refused_before_the_upgrade(node, way, key, code):
    status, error, headers = await refusal(node.url, **ways(key)[way])
    assert (status, error["type"], error["code"]) == (401, "invalid_request_error", code)
    assert headers["WWW-Authenticate"] == "Bearer"
    assert node.admission.sessions == 0


async def test_a_url_that_contradicts_its_secret_is_refused(node):
    status, error, _ = await refusal(f"{node.url}?intent=transcription", **ways(made(SETTINGS))[0])
    assert (status, error["param"]) == (400, "session.type")


async def test_a_call_of_webrtc_or_sip_is_refused(node):
    status, error, _ = await refusal(f"{node.url}?call_id=rtc_1")
    assert (status, error["code"], error["param"]) == (400, "unsupported_parameter", "call_id")


async def test_a_secret_that_is_forged_takes_no_place_on_a_full_node(node):
    async with connect(node.url), connect(node.url):
        assert (await refusal(node.url, **ways("ek_forged")[0]))[0] == 401
        assert (await refusal(node.url))[0] == 503


async def test_the_openai_client_gets_a_secret_and_connects_with_it(node):
    session = {"type": "realtime", "instructions": "Be brief.", "output_modalities": ["text"]}
    async with AsyncOpenAI(base_url=f"{node.http}/v1", api_key="any") as owner:
        secret = await owner.realtime.client_secrets.create(
            expires_after={"anchor": "created_at", "seconds": 60}, session=session
        )
    assert secret.session.instructions == "Be brief."
    async with (
        AsyncOpenAI(base_url=f"{node.http}/v1", api_key=secret.value) as guest,
        guest.realtime.connect(model="voiceedge") as connection,
    ):
        created = await connection.recv()
        assert created.session.instructions == "Be brief."
        await connection.response.create()
        async with asyncio.timeout(20):
            async for event in connection:
                if event.type == "response.done":
                    break
        assert event.response.output[0].content[0].text


# ── the beta's names ──────────────────────────────────────────────────────────────────────────────────────


async def types_of_an_answer(url, **arguments):
    async with connect(url, **arguments) as socket:
        await socket.send(json.dumps({"type": "response.create"}))
        events = []
        async with asyncio.timeout(20):
            while not events or events[-1]["type"] != "response.done":
                events.append(json.loads(await socket.recv()))
        return events, {event["type"] for event in events}


GA_NAMES = {"conversation.item.added", "conversation.item.done", "response.output_audio.delta"}
BETA_NAMES = {"conversation.item.created", "response.audio.delta", "response.audio_transcript.delta"}


async def test_with_the_betas_header_its_names_are_used_and_no_others(node):
    events, types = await types_of_an_answer(node.url, additional_headers={"OpenAI-Beta": "realtime=v1"})
    assert types >= BETA_NAMES
    assert types & GA_NAMES == set()
    assert events[0]["session"]["modalities"] == ["audio", "text"]
    assert "output_modalities" not in events[0]["session"]


@pytest.mark.parametrize("headers", [{}, {"OpenAI-Beta": "assistants=v2"}])
async def test_without_it_they_never_are(node, headers):
    events, types = await types_of_an_answer(node.url, additional_headers=headers)
    assert types >= GA_NAMES
    assert types & BETA_NAMES == set()
    assert events[0]["session"]["output_modalities"] == ["audio"]
