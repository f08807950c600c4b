"""What a handshake brings, over real sockets: keys and client secrets, and the beta's header."""

import asyncio
import json
from contextlib import asynccontextmanager, suppress

import pytest
from openai import AsyncOpenAI
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus

from tests.e2e.nodes import running_node
from voiceedge.engines.fake import fake_engines
from voiceedge.server import entrance, socket
from voiceedge.server.admission import STOPPING
from voiceedge.server.api_keys import hashed, make_key
from voiceedge.server.client_secrets import ClientSecrets
from voiceedge.server.grant import Grant
from voiceedge.trace import epoch_s

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
    return secrets.make(Grant(tenant="shop", subject="alice", updates=(session,)), 60).value


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
    before = node.admission.refusals["unauthorised"]
    status, error, headers = await refusal(node.url, **ways(key)[way])
    assert (status, error["type"], error["code"]) == (401, "invalid_request_error", code)
    assert headers["WWW-Authenticate"] == "Bearer"
    assert node.admission.refusals["unauthorised"] == before + 1


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


# ── who may come in, and for how long ─────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def closed_node(tmp_path_factory):
    """A node that knows a few keys, of one tenant each; all but the guest may have one session."""
    file = tmp_path_factory.mktemp("keys") / "keys.toml"
    entries = (f'[[key]]\nname = "{name}"\nsha256 = "{hashed(key)}"\nsessions = 1\n' for name, key in KEYS.items())
    file.write_text("".join(entries).removesuffix("sessions = 1\n"), "utf-8")
    with running_node(fake_engines(slots=4), max_sessions=3, api_keys=file) as node:
        yield node


KEYS = {"shop": make_key(), "bank": make_key(), "guest": make_key()}


@pytest.mark.parametrize("way", range(3))
async def test_a_static_key_opens_wherever_it_is_put(closed_node, way):
    async with session_of(closed_node.url, **ways(KEYS["guest"])[way]) as (_, session):
        assert session["id"].startswith("sess_")


async def test_without_a_good_key_nobody_comes_in(closed_node):
    for way in ({}, *ways("ve_wrong")):
        status, error, headers = await refusal(closed_node.url, **way)
        assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
        assert error["code"] in {"missing_api_key", "invalid_api_key"}


async def test_a_tenant_at_its_limit_is_told_so_and_hinders_nobody(closed_node):
    async with session_of(closed_node.url, **ways(KEYS["shop"])[0]):
        status, error, headers = await refusal(closed_node.url, **ways(KEYS["shop"])[0])
        assert (status, error["code"], int(headers["Retry-After"]) > 0) == (429, "session_limit_reached", True)
        async with session_of(closed_node.url, **ways(KEYS["bank"])[0]) as (_, session):
            assert session["id"].startswith("sess_")


async def test_a_page_from_elsewhere_may_not_use_an_open_node(node):
    status, error, _ = await refusal(node.url, origin="https://evil.example")
    assert (status, error["code"]) == (403, "origin_not_allowed")


async def test_a_session_ends_when_its_time_is_over_and_the_client_is_told_why():
    with running_node(fake_engines(), session_s=1) as node:
        async with session_of(node.url) as (client, _):
            *_, event = [json.loads(message) async for message in client]
            assert (event["type"], event["error"]["code"]) == ("error", "session_expired")
            assert (client.close_code, client.close_reason) == (1001, socket.TOO_LONG)


def test_a_key_may_say_that_its_sessions_are_shorter_but_not_that_they_are_longer():
    now = epoch_s()
    assert 58 <= entrance._ends_at(Grant(tenant="t", subject="s", seconds=60), 3600) - now <= 61
    assert entrance._ends_at(Grant(tenant="t", subject="s", ends_at=now + 5), 3600) == now + 5
    assert entrance._ends_at(Grant(tenant="t", subject="s", seconds=10**9, ends_at=now + 10**9), 3600) <= now + 3601


async def test_a_session_ends_when_its_key_is_taken_away(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "GUARD_S", 0.01)
    file, key = tmp_path / "keys.toml", make_key()
    file.write_text(f'[[key]]\nname = "shop"\nsha256 = "{hashed(key)}"\n', "utf-8")
    with running_node(fake_engines(slots=4), max_sessions=1, api_keys=file) as node:
        async with session_of(node.url, **ways(key)[0]) as (client, _):
            async with AsyncOpenAI(api_key=key, base_url=node.http + "/v1") as openai:
                made = await openai.realtime.client_secrets.create()
            file.write_text("", "utf-8")
            with suppress(ConnectionClosedError):
                async for _ in client:
                    pass
            assert (client.close_code, "not good any more" in client.close_reason) == (1008, True)
        for lost in (key, made.value):
            status, _, _ = await refusal(node.url, **ways(lost)[0])
            assert status == 401


async def test_whoever_comes_in_as_the_drain_begins_is_sent_away_with_all_the_others(monkeypatch):
    accept = socket.accept
    with running_node(fake_engines()) as node:

        async def accept_too_late(arriving):
            await accept(arriving)
            node.admission.drain()

        monkeypatch.setattr(socket, "accept", accept_too_late)
        async with connect(node.url) as client:
            with pytest.raises(ConnectionClosedOK) as closed:
                await client.recv()
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1001, STOPPING)
