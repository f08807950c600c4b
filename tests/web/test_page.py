"""The page in a real browser, talking into a fake microphone with a node of fake engines."""

import re
import signal
import socket
import subprocess
import sys
import time
import wave
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from tests.web.chromium import POLL_S, Page, browse
from voiceedge.server.api_keys import hashed, make_key
from voiceedge.trace import now

pytestmark = pytest.mark.browser

RATE_HZ = 48_000
QUESTION = "What is the capital of France?"
ANSWER = "Paris is the capital of France. It lies on the Seine."
ANSWER_S = 11 * 0.3
"""The fake voice takes 0.3 s for a word."""
SEGMENTS = {"wait", "end_of_turn", "stt", "llm", "tts", "queue", "send"}
PATIENCE_S = 30.0
"""For a loaded machine; a test that passes does not wait for it."""


@contextmanager
def node(*flags: str, end: signal.Signals = signal.SIGTERM) -> Iterator[str]:
    """The URL of the page of a node that answers without models."""
    command = [sys.executable, "-m", "voiceedge.cli", "serve", "--engines", "fake", "--port", "0", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            url = next(found[1] for line in server.stdout if (found := re.search(r"page\s+(http://\S+/)", line)))
            wait_for_listener(urlsplit(url).port)
            yield url
        finally:
            server.send_signal(end)


def wait_for_listener(port: int) -> None:
    """The node names its page a moment before it answers there."""
    deadline = now() + PATIENCE_S
    while now() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(POLL_S)
        else:
            return
    pytest.fail("The node does not answer.")


@pytest.fixture(scope="module")
def page_url() -> Iterator[str]:
    with node() as url:
        yield url


def recording(path: Path, *bursts_s: tuple[float, float]) -> Path:
    """A WAV file of noise-like syllables from one second to another; noise suppression takes a steady tone away."""
    seconds = np.arange(round((bursts_s[-1][1] + 1.0) * RATE_HZ)) / RATE_HZ
    voice = sum(np.sin(2 * np.pi * 140 * k * seconds + 3 * np.sin(2 * np.pi * 3 * seconds)) / k for k in range(1, 20))
    syllables = np.sin(2 * np.pi * 2.5 * seconds) ** 2 + 0.2
    voiced = sum(((seconds >= begin) & (seconds < end)).astype(float) for begin, end in bursts_s)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((voice * syllables * voiced * 6_000).astype("<i2").tobytes())
    return path


def start(page: Page, url: str) -> None:
    page.open(url)
    page.click("#talk")


def assert_clean(page: Page, url: str) -> None:
    assert page.complaints == []
    loaded = {urlsplit(request).netloc for request in page.requests if not request.startswith(("data:", "about:"))}
    assert loaded == {urlsplit(url).netloc}


def test_a_turn_is_heard_shown_and_traced(browser, page_url, tmp_path):
    with browse(browser, recording(tmp_path / "one.wav", (2.0, 3.0))) as page:
        start(page, page_url)
        page.wait("document.querySelector('#captions .agent')", PATIENCE_S)
        page.wait("window.voiceedge.inspect().state === 'listening'", PATIENCE_S)

        assert page.text("#captions .user p") == QUESTION
        assert page.text("#captions .agent p") == ANSWER
        inspected = page.evaluate("window.voiceedge.inspect()")
        assert inspected["playedSeconds"] == pytest.approx(ANSWER_S, abs=0.1)
        assert len(inspected["stretches"]) == 1, "the answer was played with a gap"
        assert inspected["truncations"] == []

        shown = page.evaluate("[...document.querySelectorAll('#legend .name')].map((name) => name.textContent)")
        assert set(shown) == SEGMENTS
        turn = next(event for event in page.received if event["type"] == "voiceedge.turn")
        assert page.text("#total") == f"{turn['total_ms']:.0f} ms"
        assert page.evaluate("document.querySelector('#bar .wait').getBoundingClientRect().width") > 0
        assert_clean(page, page_url)


def test_who_interrupts_hears_no_more_of_the_answer_and_the_node_is_told_how_much_was_heard(
    browser, page_url, tmp_path
):
    with browse(browser, recording(tmp_path / "two.wav", (2.0, 3.0), (4.8, 5.8))) as page:
        start(page, page_url)
        page.wait("window.voiceedge.inspect().truncations.length", PATIENCE_S)
        page.wait("document.querySelectorAll('#captions .agent').length === 2", PATIENCE_S)
        page.wait("window.voiceedge.inspect().state === 'listening'", PATIENCE_S)

        inspected = page.evaluate("window.voiceedge.inspect()")
        (cut,) = inspected["truncations"]
        (truncate,) = [event for event in page.sent if event["type"] == "conversation.item.truncate"]
        assert (truncate["item_id"], truncate["audio_end_ms"]) == (cut["itemId"], cut["heardMs"])
        assert 0 < cut["heardMs"] < ANSWER_S * 1000 - 500

        first, second = inspected["stretches"]
        assert first["itemId"] == cut["itemId"]
        assert first["seconds"] * 1000 == pytest.approx(cut["heardMs"], abs=1)
        assert second["seconds"] == pytest.approx(ANSWER_S, abs=0.1)
        assert inspected["playedSeconds"] == pytest.approx(first["seconds"] + second["seconds"], abs=0.05)

        caption = page.evaluate("document.querySelector('#captions .agent p').textContent")
        unheard = page.text("#captions .agent .quiet")
        assert unheard
        assert ANSWER.endswith(unheard)
        assert caption == f"{ANSWER} interrupted"
        assert_clean(page, page_url)


def test_stop_lets_go_of_the_session_also_while_it_is_being_opened(browser, page_url, tmp_path):
    with browse(browser, recording(tmp_path / "one.wav", (60.0, 61.0))) as page:
        page.open(page_url)
        for _ in ("start", "stop before it has begun", "start again"):
            page.click("#talk")
        page.wait("window.voiceedge.inspect().state === 'listening'", PATIENCE_S)
        page.click("#talk")
        page.wait("window.voiceedge.inspect().state === 'ended'", PATIENCE_S)
        assert page.text("#talk") == "Start talking"
        assert page.text("#trouble") == ""
        page.evaluate("fetch('/readyz').then((r) => r.json()).then((node) => { window.sessions = node.sessions; })")
        page.wait("window.sessions === 0", PATIENCE_S)
        assert_clean(page, page_url)


def test_a_full_node_is_said_in_words(browser, tmp_path):
    with node("--max-sessions", "1") as url, browse(browser, recording(tmp_path / "a.wav", (60.0, 61.0))) as page:
        page.open(url)
        page.evaluate("window.other = new WebSocket(new URL('/v1/realtime', location).href.replace('http', 'ws'))")
        page.wait("window.other.readyState === WebSocket.OPEN", PATIENCE_S)
        page.click("#talk")
        page.wait("window.voiceedge.inspect().state === 'ended'", PATIENCE_S)
        assert page.text("#trouble").startswith("The server is full: it holds 1 of 1")


def test_a_node_that_loads_an_engine_anew_behind_a_proxy_that_sends_nobody_there_is_said_in_words(
    browser, page_url, tmp_path
):
    with browse(browser, recording(tmp_path / "a.wav", (60.0, 61.0))) as page:
        page.open(page_url)
        page.evaluate("window.WebSocket = class { constructor() { setTimeout(() => this.onclose()); } }")
        told = "{ status: 'loading', missing: ['stt'], sessions: 0, max_sessions: 1 }"
        page.evaluate(f"window.fetch = async () => ({{ status: 200, json: async () => ({told}) }})")
        page.click("#talk")
        page.wait("window.voiceedge.inspect().state === 'ended'", PATIENCE_S)
        assert page.text("#trouble").startswith("The server loads one of its engines anew.")


@pytest.mark.parametrize(
    ("end", "words"), [(signal.SIGTERM, "The node is shutting down."), (signal.SIGKILL, "The connection was lost.")]
)
def test_a_lost_connection_is_said_in_words(browser, tmp_path, end, words):
    with browse(browser, recording(tmp_path / "a.wav", (60.0, 61.0))) as page:
        with node(end=end) as url:
            start(page, url)
            page.wait("window.voiceedge.inspect().state === 'listening'", PATIENCE_S)
        page.wait("window.voiceedge.inspect().state === 'ended'", PATIENCE_S)
        assert words in page.text("#trouble")
        page.click("#talk")
        page.wait("document.getElementById('trouble').innerText.includes('cannot be reached')", PATIENCE_S)


@pytest.mark.parametrize(
    ("has_microphone", "words"), [(True, "The microphone was not allowed."), (False, "There is no microphone.")]
)
def test_a_microphone_that_is_missing_or_refused_is_said_in_words(browser, page_url, tmp_path, has_microphone, words):
    microphone = recording(tmp_path / "a.wav", (60.0, 61.0)) if has_microphone else None
    with browse(browser, microphone, allowed=not has_microphone) as page:
        start(page, page_url)
        page.wait("window.voiceedge.inspect().state === 'ended'", PATIENCE_S)
        assert page.text("#trouble").startswith(words)


def test_a_page_that_may_not_have_a_microphone_says_how_it_may(browser, page_url):
    with browse(browser, None) as page:
        page.open(page_url)
        page.evaluate("Object.defineProperty(navigator, 'mediaDevices', {value: undefined})")  # as over plain HTTP
        page.click("#talk")
        page.wait("window.voiceedge.inspect().state === 'ended'", PATIENCE_S)
        assert "Open this page as http://localhost" in page.text("#trouble")


def test_a_browser_that_does_not_resample_microphones_is_heard_at_the_right_speed(browser, page_url, tmp_path):
    as_firefox_does = """
        const original = AudioContext.prototype.createMediaStreamSource;
        AudioContext.prototype.createMediaStreamSource = function (stream) {
            if (this.sampleRate === 24000) throw new DOMException("different sample-rate", "NotSupportedError");
            return original.call(this, stream);
        };
    """
    with browse(browser, recording(tmp_path / "one.wav", (2.0, 3.0))) as page:
        page.open(page_url)
        page.evaluate(as_firefox_does)
        page.click("#talk")
        page.wait("document.querySelector('#captions .agent')", PATIENCE_S)
        assert page.text("#captions .user p") == QUESTION
        sent = [
            (at, len(b64decode(event["audio"])) / 2)
            for event, at in zip(page.sent, page.sent_s, strict=True)
            if event["type"] == "input_audio_buffer.append"
        ]
        seconds = sent[-1][0] - sent[0][0]
        assert sum(samples for _, samples in sent[1:]) / seconds == pytest.approx(24_000, rel=0.05)


def test_a_node_that_asks_for_a_key_gets_the_one_that_is_typed_in(browser, tmp_path):
    key = make_key()
    file = tmp_path / "keys.toml"
    file.write_text(f'[[key]]\nname = "me"\nsha256 = "{hashed(key)}"\n', "utf-8")
    with node("--api-keys", str(file)) as url, browse(browser, recording(tmp_path / "one.wav", (2.0, 3.0))) as page:
        start(page, url)
        page.wait("!document.getElementById('door').hidden", PATIENCE_S)
        assert page.text("#trouble").startswith("This server asks for a key.")
        page.evaluate(f"document.getElementById('key').value = '{key}'")
        page.click("#talk")
        page.wait("window.voiceedge.inspect().state === 'listening'", PATIENCE_S)
        assert key not in "".join(page.requests)
