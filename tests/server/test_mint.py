import pytest
from openai.types.beta.realtime.session_create_response import SessionCreateResponse
from openai.types.realtime import ClientSecretCreateResponse
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.testclient import TestClient

from voiceedge.config import Config
from voiceedge.engines.fake import fake_engines
from voiceedge.server.admission import Admission
from voiceedge.server.app import build_app
from voiceedge.server.auth import Door
from voiceedge.server.client_secrets import ClientSecrets
from voiceedge.server.grant import Grant
from voiceedge.server.mint import MAX_BODY_BYTES, Mint
from voiceedge.server.socket import Sockets
from voiceedge.session.node import make_node

NOW = 1_800_000_000
SECRETS = ClientSecrets(None, lambda: NOW)
DOOR = Door(SECRETS)
PATH = "/v1/realtime/client_secrets"
SETTINGS = {
    "type": "realtime",
    "model": "gpt-realtime",
    "instructions": "Be brief.",
    "tools": [{"type": "function", "name": "look_up", "parameters": {"type": "object", "properties": {}}}],
    "audio": {"input": {"turn_detection": {"type": "semantic_vad"}}, "output": {"voice": "marin", "speed": 1.2}},
}


@pytest.fixture(scope="module")
def client():
    node = make_node(Config(), fake_engines(), 1, lambda *_: None)
    admission = Admission(1)
    with TestClient(build_app(node, Sockets(node, admission, DOOR), admission, DOOR)) as client:
        yield client
    node.compute.close()


def ask(client, path=PATH, status=200, **arguments):
    answer = client.post(path, **arguments)
    assert answer.status_code == status, answer.text
    return answer.json()


def complaint(client, status=400, **arguments):
    error = ask(client, status=status, **arguments)["error"]
    assert set(error) == {"type", "code", "message", "param"}
    assert error["type"] == "invalid_request_error"
    return error


def test_a_secret_carries_the_settings_and_the_answer_shows_the_whole_session(client):
    answer = ask(client, json={"expires_after": {"anchor": "created_at", "seconds": 60}, "session": SETTINGS})
    assert answer["expires_at"] == NOW + 60
    assert SECRETS.grant(answer["value"]).updates == (SETTINGS,)
    session = answer["session"]
    assert (session["object"], session["type"], session["model"]) == ("realtime.session", "realtime", "gpt-realtime")
    assert session["audio"]["output"] == {
        "format": {"type": "audio/pcm", "rate": 24000},
        "voice": "marin",
        "speed": 1.2,
    }
    assert session["id"].startswith("sess_")


@pytest.mark.parametrize("session", [SETTINGS, {"type": "transcription"}, None])
def test_the_answer_is_what_openais_client_expects(client, session):
    answer = ask(client, json={"session": session})
    parsed = TypeAdapter(ClientSecretCreateResponse).validate_python(answer)
    assert parsed.session.type == (session or SETTINGS)["type"]


@pytest.mark.parametrize("body", [{"json": {}}, {}, {"json": {"session": None, "expires_after": None}}])
def test_everything_may_be_left_out(client, body):
    answer = ask(client, **body)
    assert answer["expires_at"] == NOW + 600
    assert SECRETS.grant(answer["value"]).updates == ()


def test_a_secret_is_kept_by_no_cache(client):
    assert client.post(PATH).headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"session": {"type": "imaginary"}}, "session.type"),
        ({"session": {"tools": [{"type": "function"}]}}, "session.tools[0].name"),
        ({"session": {"audio": {"input": {"format": "pcm16"}}}}, "session.audio.input.format"),
        ({"session": []}, "session"),
        ({"expires_after": {"seconds": 9}}, "expires_after.seconds"),
        ({"expires_after": {"seconds": 7201}}, "expires_after.seconds"),
        ({"expires_after": {"anchor": "now"}}, "expires_after.anchor"),
        ([], None),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_its_place(client, body, param):
    error = complaint(client, json=body)
    assert error["param"] == param


@pytest.mark.parametrize("content", [b"{", b"\xff", b'{"session": ' + b"[" * 30_000])
def test_what_is_not_json_is_refused(client, content):
    assert complaint(client, content=content)["code"] == "invalid_json"


def test_settings_that_are_nested_too_deep_are_refused(client):
    deep: dict = {}
    for _ in range(100):
        deep = {"x": deep}
    assert complaint(client, json={"session": {"tools": deep}})["param"] == "session"


def test_settings_that_fit_no_header_are_refused(client):
    letters = "".join(chr(33 + (index * index * 7919) % 8191 % 90) for index in range(16_000))
    error = complaint(client, json={"session": {"instructions": letters}})
    assert (error["code"], error["param"]) == ("session_too_long", "session")


def test_a_body_that_is_too_long_is_refused(client):
    error = complaint(client, status=413, content=b" " * (MAX_BODY_BYTES + 1))
    assert error["code"] == "request_too_large"


async def test_a_body_is_read_no_further_than_its_limit():
    read = 0

    async def endless():
        nonlocal read
        read += 4096
        return {"type": "http.request", "body": b" " * 4096, "more_body": True}

    request = Request({"type": "http", "method": "POST", "headers": []}, endless)
    assert (await Mint(None, DOOR).client_secrets(request)).status_code == 413
    assert read == MAX_BODY_BYTES + 4096


async def test_a_client_that_goes_away_in_its_body_leaves_nothing_in_the_log():
    messages = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])

    async def gone():
        return next(messages)

    answer = await Mint(None, DOOR).client_secrets(Request({"type": "http", "method": "POST", "headers": []}, gone))
    assert answer.status_code == 400


def test_a_secret_for_a_token_says_that_it_ends_with_the_token(monkeypatch):
    async def grant(*_, **__):
        return Grant(tenant="shop", subject="alice", ends_at=NOW + 20)

    monkeypatch.setattr(DOOR, "grant", grant)
    node = make_node(Config(), fake_engines(), 1, lambda *_: None)
    admission = Admission(1)
    with TestClient(build_app(node, Sockets(node, admission, DOOR), admission, DOOR)) as client:
        assert ask(client)["expires_at"] == NOW + 20
        assert ask(client, path="/v1/realtime/sessions", json={})["client_secret"]["expires_at"] == NOW + 20
    node.compute.close()


def test_a_client_secret_makes_no_further_secrets(client):
    value = ask(client)["value"]
    for headers in ({"authorization": f"Bearer {value}"}, {"api-key": value}):
        error = complaint(client, status=401, headers=headers)
        assert error["code"] == "invalid_api_key"
    assert complaint(client, status=401, headers={"authorization": "Bearer ek_forged"})


def test_no_other_origin_may_read_an_answer(client):
    asking = {"origin": "https://elsewhere.example", "access-control-request-method": "POST"}
    assert client.options(PATH, headers=asking).status_code == 405
    answers = [client.options(PATH, headers=asking), client.post(PATH, headers=asking), client.get("/v1/models")]
    for answer in answers:
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_beta_session_is_flat_and_holds_its_secret(client):
    body = {
        "model": "gpt-4o-realtime-preview",
        "modalities": ["text", "audio"],
        "voice": "verse",
        "input_audio_format": "g711_ulaw",
        "instructions": "Be brief.",
        "client_secret": {"expires_after": {"anchor": "created_at", "seconds": 30}},
    }
    answer = ask(client, path="/v1/realtime/sessions", json=body)
    SessionCreateResponse.model_validate(answer, strict=True)
    assert answer["client_secret"]["expires_at"] == NOW + 30
    shown = ("model", "modalities", "voice", "input_audio_format", "instructions")
    assert [answer[name] for name in shown] == [
        "gpt-4o-realtime-preview", ["audio", "text"], "verse", "g711_ulaw", "Be brief.",
    ]  # fmt: skip
    (settings,) = SECRETS.grant(answer["client_secret"]["value"]).updates
    assert settings["audio"]["input"]["format"] == {"type": "audio/pcmu"}
    assert "client_secret" not in settings
    assert "audio" not in answer


def test_the_beta_transcription_session_is_one(client):
    answer = ask(client, path="/v1/realtime/transcription_sessions", json={"input_audio_format": "g711_alaw"})
    assert answer["object"] == "realtime.transcription_session"
    assert SECRETS.grant(answer["client_secret"]["value"]).updates[0]["type"] == "transcription"


@pytest.mark.parametrize("body", [{"client_secret": {"expires_after": {"seconds": 5}}}, {"turn_detection": 5}])
def test_the_beta_is_checked_as_well(client, body):
    ask(client, path="/v1/realtime/sessions", status=400, json=body)


@pytest.mark.parametrize("path", ["/v1/realtime/calls", "/v1/realtime?model=x"])
def test_an_offer_of_webrtc_is_told_to_use_the_websocket(client, path):
    error = ask(client, path=path, status=501, content=b"v=0")["error"]
    assert "WebSocket" in error["message"]


def test_a_request_that_is_no_handshake_is_told_to_be_one(client):
    answer = client.get("/v1/realtime?model=x")
    assert answer.status_code == 426
    assert answer.headers["upgrade"] == "websocket"
