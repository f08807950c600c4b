"""Chromium without a window, driven over its DevTools protocol; its microphone plays a recording."""

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from voiceedge.trace import now

FINDER = Path(__file__).parents[2] / "scripts" / "chromium"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--remote-debugging-port=0",
    "--window-size=1000,900",
)
START_S = 30.0
POLL_S = 0.05


class Page:
    """One tab, and what it has done on the network and in its console."""

    def __init__(self, devtools: ClientConnection) -> None:
        self._devtools = devtools
        self._session: str | None = None
        self._calls = 0
        self.requests: list[str] = []
        """URLs of everything that was loaded or connected to."""
        self.sent: list[dict[str, Any]] = []
        """Client events over the WebSocket."""
        self.sent_s: list[float] = []
        """When each of them was sent, on the browser's clock."""
        self.received: list[dict[str, Any]] = []
        """Server events over the WebSocket."""
        self.complaints: list[str] = []
        """Console errors and warnings, exceptions, and what was blocked."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and take in the events that arrive meanwhile."""
        self._calls += 1
        call = {"id": self._calls, "method": method, "params": params}
        self._devtools.send(json.dumps(call | ({"sessionId": self._session} if self._session else {})))
        while True:
            message = json.loads(self._devtools.recv(timeout=START_S))
            if message.get("id") == self._calls:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self._take(message)

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.wait(f"location.href === {json.dumps(url)} && document.readyState === 'complete'", seconds=START_S)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, userGesture=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, expression: str, seconds: float) -> None:
        """Wait until a JavaScript expression is true."""
        deadline = now() + seconds
        while not self.evaluate(f"Boolean({expression})"):
            if now() > deadline:
                seen = self.evaluate("document.body.innerText")
                raise TimeoutError(f"not true within {seconds} s: {expression}\n{self.complaints}\n{seen}")
            time.sleep(POLL_S)

    def text(self, selector: str) -> str:
        """What a person reads in the first element that fits, or nothing where there is none."""
        return self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''").strip()

    def click(self, selector: str) -> None:
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def _take(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Network.webSocketCreated":
                self.requests.append(params["url"])
            case "Network.webSocketFrameSent":
                self.sent.append(json.loads(params["response"]["payloadData"]))
                self.sent_s.append(params["timestamp"])
            case "Network.webSocketFrameReceived":
                self.received.append(json.loads(params["response"]["payloadData"]))
            case "Runtime.consoleAPICalled" if params["type"] in {"error", "warning", "assert"}:
                self.complaints.append(str(params["args"]))
            case "Runtime.exceptionThrown":
                self.complaints.append(str(params["exceptionDetails"]))
            case "Log.entryAdded" if params["entry"]["level"] in {"error", "warning"}:
                self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")


def chromium() -> Path | None:
    """Where Chromium is, None when there is none; the script that knows may also install it."""
    found = subprocess.run([FINDER], stdout=subprocess.PIPE, text=True, check=False)
    return Path(found.stdout.strip()) if found.returncode == 0 else None


@contextmanager
def browse(chromium: Path, microphone: Path | None, *, allowed: bool = True) -> Iterator[Page]:
    """A fresh browser whose microphone plays a 16-bit WAV file once, then silence; None is a browser without one."""
    flags = list(FLAGS)
    if microphone is None:
        flags.remove("--use-fake-device-for-media-stream")
    else:
        flags.append(f"--use-file-for-fake-audio-capture={microphone}%noloop")
    # both answer the question for permission without asking anybody
    flags.append("--use-fake-ui-for-media-stream" if allowed else "--deny-permission-prompts")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [chromium, *flags, f"--user-data-dir={profile}", "about:blank"]
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with connect(
                _devtools_url(browser, Path(profile)), proxy=None, max_size=None, ping_interval=None
            ) as devtools:
                yield Page(devtools)
        finally:
            browser.terminate()
            browser.wait(timeout=START_S)


def _devtools_url(browser: subprocess.Popen[bytes], profile: Path) -> str:
    """Where the browser listens: it writes port and path into its profile."""
    note = profile / "DevToolsActivePort"
    deadline = now() + START_S
    while not (note.exists() and len(lines := note.read_text().splitlines()) == 2):
        if browser.poll() is not None or now() > deadline:
            raise TimeoutError("Chromium did not start.")
        time.sleep(POLL_S)
    port, path = lines
    return f"ws://127.0.0.1:{port}{path}"
