"""Whatever happens to a node: no key, and nothing that was said, is where it does not belong.

Every place that holds something secret or private gets a mark of its own. Then the node lives through all that can
happen to it, and no mark may be found in what it has written and shown.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import jwt
import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.e2e.whole import WholeNode, logged, whole_node
from voiceedge.engines import Stage
from voiceedge.engines.fake import fake_engines
from voiceedge.server.api_keys import hashed, make_key
from voiceedge.trace import epoch_s

RATE_HZ = 24_000
PATIENCE_S = 20.0
ISSUER, AUDIENCE = "https://issuer.example/", "voiceedge"


class Marks:
    """Things that nobody else may see, by where they were put."""

    def __init__(self) -> None:
        self.all: dict[str, str] = {}

    def __call__(self, place: str, before: str = "") -> str:
        return self.note(place, f"{before}XQ{secrets.token_hex(8)}")

    def note(self, place: str, value: str) -> str:
        self.all[place] = value
        return value

    def found_in(self, text: str) -> set[str]:
        return {place for place, mark in self.all.items() if mark in text}


class Broken(set[Stage]):
    """Stages that raise what engines raise: an error that quotes the words it was given."""

    words = ""
    quoted = False
    """Whether any has raised since."""

    def __contains__(self, stage: object) -> bool:
        if super().__contains__(stage):
            self.quoted = True
            raise ValueError(f"cannot make anything of {self.words!r}")
        return False


class Life:
    """A node, and all that happens to it."""

    def __init__(self, tmp_path: Path) -> None:
        self.mark = Marks()
        self.answers: list[str] = []
        """What strangers were answered."""
        self.broken = Broken()
        self.broken.words = self.mark("words that an engine quotes")
        self.key = self.mark.note("static key", make_key())
        keys = tmp_path / "keys.toml"
        keys.write_text(f'[[key]]\nname = "shop"\nsha256 = "{hashed(self.key)}"\n', "utf-8")
        self.mark.note("hash of the static key", hashed(self.key))
        self.trace_file = tmp_path / "trace.jsonl"
        self.secret = self.mark("secret", "the node's secret is long: ")
        self.auth_secret = self.mark("auth_secret", "shared with the issuer, long: ")
        self.admin_key = self.mark("admin_key", "the operator's ")
        self.settings = {
            "api_keys": keys,
            "secret": self.secret,
            "auth_secret": self.auth_secret,
            "auth_algorithms": "HS256",
            "auth_issuer": ISSUER,
            "auth_audience": AUDIENCE,
            "admin_key": self.admin_key,
            "trace_file": self.trace_file,
            "instructions": self.mark("the node's instructions"),
            "max_sessions": 4,
        }
        self.engines = fake_engines(
            text=f"I said {self.mark('transcript')}.",
            answer=f"You said {self.mark('answer')}. It is so.",
            slots=6,
            fail_at=self.broken,
        )

    def token(self, name: str, **claims: Any) -> str:
        now = epoch_s()
        standard = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": now + 60, "nbf": now - 60}
        instructions = {"session": {"instructions": self.mark(f"instructions in {name}")}}
        claims = {**standard, "voiceedge": instructions, **claims}
        return self.mark.note(name, jwt.encode(claims, self.auth_secret, "HS256"))

    # ── what happens ──────────────────────────────────────────────────────────────────────────────────

    async def happens(self, node: WholeNode) -> None:
        await self.talks(node)
        await self.talks_with_a_token(node)
        await self.talks_with_a_client_secret(node)
        for stage in ("vad", "end_of_turn", "stt", "llm", "tts"):
            await self.talks_to_a_broken(node, stage)
        await self.breaks_the_protocol(node)
        await self.is_cut_off(node)
        await self.asks_over_http(node)
        await self.sends_what_is_no_http(node)
        await self.shows_bad_keys(node)

    async def talks(self, node: WholeNode) -> None:
        bearer = {"Authorization": f"Bearer {self.key}"}
        tool = {
            "type": "function",
            "name": self.mark("tool's name", "f_"),
            "description": self.mark("tool's description"),
            "parameters": {"type": "object", "properties": {self.mark("parameter", "p_"): {"type": "string"}}},
        }
        session = {
            "type": "realtime",
            "instructions": self.mark("session's instructions"),
            "tools": [tool],
            "audio": {"input": {"transcription": {"model": "x", "prompt": self.mark("transcription prompt")}}},
        }
        call = {"call_id": "call_1", "name": tool["name"], "arguments": f'{{"p": "{self.mark("arguments")}"}}'}
        messages = [
            {"type": "session.update", "session": session},
            *self.speech(),
            self.item(self.mark("text of the user")),
            {"type": "conversation.item.create", "item": {"type": "function_call", **call}},
            {
                "type": "conversation.item.create",
                "item": {"type": "function_call_output", "call_id": "call_1", "output": self.mark("output")},
            },
            {
                "type": "response.create",
                "response": {
                    "instructions": self.mark("instructions of a response"),
                    "metadata": {"m": self.mark("metadata")},
                    "conversation": "none",
                },
            },
        ]
        query = self.mark("query", "&token=")
        await self.session(node, messages, dones=2, query=query, additional_headers=bearer)

    async def talks_with_a_token(self, node: WholeNode) -> None:
        token = self.token("token")
        offered = ["realtime", f"openai-insecure-api-key.{token}", self.mark("other subprotocol", "x.")]
        await self.session(node, [*self.speech()], subprotocols=offered)

    async def talks_with_a_client_secret(self, node: WholeNode) -> None:
        bearer = f"Authorization: Bearer {self.key}"
        for path, place in (("client_secrets", "session"), ("sessions", "")):
            session = {"instructions": self.mark(f"instructions in {path}")}
            body = json.dumps({place: {"type": "realtime", **session}} if place else session)
            answer = await self.http(node, "POST", f"/v1/realtime/{path}", bearer, body=body)
            made = json.loads(answer.split("\r\n\r\n", 1)[1])
            value = made["value"] if place else made["client_secret"]["value"]
            self.mark.note(f"client secret of {path}", value)
            await self.session(node, [*self.speech()], additional_headers={"api-key": value})

    async def talks_to_a_broken(self, node: WholeNode, stage: Stage) -> None:
        self.broken.clear()
        bearer = {"Authorization": f"Bearer {self.key}"}
        async with connect(node.url + "?trace=1", additional_headers=bearer, max_size=None) as socket:
            self.broken.add(stage)
            self.broken.quoted = False
            for message in (
                {"type": "session.update", "session": {"instructions": self.mark(f"instructions to {stage}")}},
                *self.speech(),
                {"type": "input_audio_buffer.commit"},
                self.item(self.mark(f"text to {stage}")),
                {"type": "response.create", "response": {"conversation": "none"}},
            ):
                await socket.send(json.dumps(message))
            received, is_quiet = "", False
            async with asyncio.timeout(PATIENCE_S):
                while not (is_quiet and "response.done" in received and self.broken.quoted):
                    try:
                        received += str(await asyncio.wait_for(socket.recv(), 0.2))
                        is_quiet = False
                    except TimeoutError:
                        is_quiet = True
        self.broken.clear()

    async def breaks_the_protocol(self, node: WholeNode) -> None:
        mark = self.mark
        messages = [
            mark("no JSON", "{"),
            json.dumps({"type": mark("unknown type")}),
            json.dumps({"type": "input_audio_buffer.append", "audio": mark("no base64", "!")}),
            json.dumps({"type": "session.update", "session": {"output_modalities": [mark("modality")]}}),
            json.dumps({"type": "session.update", "session": mark("no session"), "event_id": mark("event id")}),
            json.dumps({"type": "conversation.item.truncate", "item_id": mark("truncated"), "audio_end_ms": 1}),
            json.dumps({"type": "conversation.item.delete", "item_id": mark("deleted")}),
            json.dumps({"type": "conversation.item.retrieve", "item_id": mark("retrieved")}),
            json.dumps({"type": "response.cancel", "response_id": mark("cancelled")}),
            json.dumps({"type": "response.create", "response": {"tools": [{"type": mark("tool's type")}]}}),
            json.dumps({**self.item("x"), "previous_item_id": mark("previous item")}),
            json.dumps({"type": "session.update", "session": {"type": mark("kind")}}),
            json.dumps({"type": "session.update", "session": {"tools": [{"type": "mcp", "headers": mark("headers")}]}}),
            mark("bytes", "\udcff").encode("utf-8", "surrogateescape"),
        ]
        async with connect(node.url, additional_headers={"api-key": self.key}) as socket:
            for message in messages:
                await socket.send(message)
            await socket.send(json.dumps({"type": "input_audio_buffer.clear"}))
            async with asyncio.timeout(PATIENCE_S):
                while json.loads(await socket.recv())["type"] != "input_audio_buffer.cleared":
                    pass
            await socket.close(1000, mark("client's reason"))
        async with connect(node.url, additional_headers={"api-key": self.key}) as socket:
            await socket.send(mark("no UTF-8", "\udcff").encode("utf-8", "surrogateescape"), text=True)
            with suppress(ConnectionClosed):
                async with asyncio.timeout(PATIENCE_S):
                    while True:
                        await socket.recv()

    async def is_cut_off(self, node: WholeNode) -> None:
        async with connect(node.url, additional_headers={"api-key": self.key}) as socket:
            await socket.send(json.dumps(self.item(self.mark("text before the cut"))))
            await socket.send(json.dumps({"type": "response.create"}))
            socket.transport.abort()

    async def asks_over_http(self, node: WholeNode) -> None:
        mark = self.mark
        bad = f"Authorization: Bearer {mark('bad bearer over HTTP')}"
        good = f"Authorization: Bearer {self.key}"
        self.answers += [
            await self.http(node, "GET", f"/v1/{mark('path')}?key={mark('query of a 404')}"),
            await self.http(node, "GET", f"/web/../../{mark('path upwards')}"),
            await self.http(node, "GET", f"/metrics?key={mark('query of metrics')}", bad),
            await self.http(node, "GET", "/trace/events", f"Cookie: session={mark('cookie')}"),
            await self.http(node, "GET", "/trace", "Authorization: Basic " + _basic(mark("password"))),
            await self.http(node, "GET", f"/v1/realtime?x={mark('no upgrade')}", good),
            await self.http(node, "POST", "/v1/realtime/client_secrets", bad, body=mark("body of a bad key")),
            await self.http(node, "POST", "/v1/realtime/client_secrets", good, body="{" + mark("no JSON in a body")),
            await self.http(node, "POST", "/v1/realtime/calls", body=mark("offer")),
            await self.http(node, "PUT", f"/v1/realtime/{mark('method')}"),
        ]
        too_long = json.dumps({"session": {"instructions": mark("long body") + "x" * 70_000}})
        self.answers.append(await self.http(node, "POST", "/v1/realtime/client_secrets", good, body=too_long))

    async def sends_what_is_no_http(self, node: WholeNode) -> None:
        mark = self.mark
        for text in (
            mark("no HTTP") + "\r\n\r\n",
            f"GET / HTTP/9.9\r\nAuthorization: Bearer {mark('odd version')}\r\n\r\n",
            f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization {mark('bad header')}\r\n\r\n",
            f"GET / HTTP/1.1\r\nHost: x\r\nX: {mark('long header')}{'x' * 20_000}\r\n\r\n",
            _upgrade(f"/v1/realtime?{mark('no key in a handshake')}", "Sec-WebSocket-Version: 7"),
            _upgrade("/v1/realtime", f"Sec-WebSocket-Protocol: ,,{mark('broken subprotocol')}\x01"),
            _upgrade("/v1/realtime", f"X-Long: {mark('long line')}{'x' * 9_000}"),
            _upgrade(f"/v1/realtime?call_id={mark('call id')}", f"Authorization: Bearer {self.key}"),
        ):
            self.answers.append(await self.raw(node, text))

    async def shows_bad_keys(self, node: WholeNode) -> None:
        now = epoch_s()
        mark = self.mark
        forged = mark.note("forged client secret", "ek_" + self.token("forged").replace("eyJ", "eyK"))
        for arguments in (
            {"additional_headers": {"Authorization": f"Bearer {mark('bad bearer')}"}},
            {"additional_headers": {"Authorization": f"Bearer {mark('bad static key', 've_')}"}},
            {"additional_headers": {"Authorization": mark("no scheme")}},
            {"additional_headers": {"api-key": forged}},
            {"subprotocols": ["realtime", mark("bad subprotocol key", "openai-insecure-api-key.")]},
            {"additional_headers": {"api-key": self.token("expired token", exp=now - 90)}},
            {"additional_headers": {"api-key": self.token("token for others", aud=mark("audience"))}},
            {"additional_headers": {"api-key": self.token("token too early", nbf=now + 90)}},
        ):
            with pytest.raises(InvalidStatus) as refused:
                async with connect(f"{node.url}?key={mark('query of a bad key')}", **arguments):
                    pass
            assert refused.value.response.status_code in {401, 429}
            self.answers.append(refused.value.response.body.decode())

    # ── how ───────────────────────────────────────────────────────────────────────────────────────────

    def speech(self) -> Iterator[dict[str, str]]:
        """A second of a voice, and then silence."""
        seconds = np.arange(RATE_HZ) / RATE_HZ
        wave = 0.3 * np.sin(2 * np.pi * (200 + secrets.randbelow(100)) * seconds)
        samples = np.concatenate([wave, np.zeros(2 * RATE_HZ)])
        data = (samples * 32767).astype("<i2").tobytes()
        self.mark.note(f"audio {len(self.mark.all)}", base64.b64encode(data[:30_000]).decode()[:64])
        for begin in range(0, len(data), 1_920):
            yield {
                "type": "input_audio_buffer.append",
                "audio": base64.b64encode(data[begin : begin + 1_920]).decode(),
            }

    @staticmethod
    def item(text: str) -> dict[str, Any]:
        content = [{"type": "input_text", "text": text}]
        return {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}}

    async def session(
        self, node: WholeNode, messages: list[dict[str, Any]], *, dones: int = 1, query: str = "", **arguments: Any
    ) -> None:
        """Talk until so many responses are over."""
        async with connect(f"{node.url}?trace=1{query}", max_size=None, **arguments) as socket:
            for message in messages:
                await socket.send(json.dumps(message))
            async with asyncio.timeout(PATIENCE_S):
                while dones:
                    event = json.loads(await socket.recv())
                    dones -= event["type"] == "response.done"
                    if event["type"] == "response.output_audio.delta":
                        self.mark.note("audio of an answer", event["delta"][:64])

    async def http(self, node: WholeNode, method: str, path: str, *headers: str, body: str = "") -> str:
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
        lines.append(f"Content-Length: {len(body)}")
        return await self.raw(node, "\r\n".join(lines) + "\r\n\r\n" + body)

    async def raw(self, node: WholeNode, text: str) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
        writer.write(text.encode("latin-1"))
        answer = b""
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(1.5):
                while data := await reader.read(65_536):
                    answer += data
        writer.close()
        return answer.decode("latin-1")


def _basic(password: str) -> str:
    return base64.b64encode(f"operator:{password}".encode()).decode()


def _upgrade(path: str, *headers: str) -> str:
    head = [
        f"GET {path} HTTP/1.1",
        "Host: x",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
    version = [] if any("Version" in header for header in headers) else ["Sec-WebSocket-Version: 13"]
    return "\r\n".join([*head, *version, *headers]) + "\r\n\r\n"


async def shown_to_the_operator(life: Life, node: WholeNode) -> str:
    """What metrics and the live view say at the end, which ought to hold no words either."""
    bearer = f"Authorization: Bearer {life.admin_key}"
    metrics = await life.http(node, "GET", "/metrics", bearer)
    assert "voiceedge_" in metrics
    events = await life.raw(node, f"GET /trace/events HTTP/1.1\r\nHost: localhost\r\n{bearer}\r\n\r\n")
    assert "critical_path" in events
    about = await life.http(node, "GET", "/v1/node")
    return metrics + events + about


@pytest.mark.parametrize("form", ["text", "json"])
async def test_no_key_and_no_word_is_written_or_shown_whatever_happens(tmp_path: Path, capfd, form: str):
    life = Life(tmp_path)
    with logged(form) as log:
        with whole_node(life.engines, **life.settings) as node:
            await life.happens(node)
            shown = await shown_to_the_operator(life, node)
        said = log.getvalue()
    out, err = capfd.readouterr()
    trace = life.trace_file.read_text()
    assert len(life.mark.all) > 60
    assert life.mark.found_in(said) == set()
    assert life.mark.found_in(out + err) == set()
    assert life.mark.found_in(trace) == set()
    assert life.mark.found_in(shown) == set()
    strangers = "".join(life.answers)
    own = {"tool's type"}  # who sends what is refused may be told what it was; nobody else
    assert life.mark.found_in(strangers) - own == set()
    # all of it has happened, and has been told
    for line in ("opened", "closed", "ValueError", "An engine step failed.", "Voice activity failed."):
        assert line in said
    assert "Traceback" not in out + err
    assert trace.count("\n") >= 5
    if form == "json":
        lines = [json.loads(line) for line in said.splitlines()]
        assert {line["session"] for line in lines if "turn" in line["message"]} <= {
            line["session"] for line in lines if "opened" in line["message"]
        }


async def test_words_are_in_the_trace_file_only_where_the_operator_wants_them(tmp_path: Path):
    life = Life(tmp_path)
    with logged("text") as log, whole_node(life.engines, **life.settings, trace_words=True) as node:
        await life.talks(node)
    assert {"transcript", "answer"} <= life.mark.found_in(life.trace_file.read_text())
    assert life.mark.found_in(log.getvalue()) == set()
