"""Every line the same way, with its session, and nothing in it that is secret or was said."""

import asyncio
import contextvars
import io
import json
import logging
import re
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.errors import ConfigError, EngineFailed, InvalidRequest
from voiceedge.server.logs import STRUCK, Lines, in_session, printable, rfc3339

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"


class Log:
    """A logger of its own, and what it has written."""

    def __init__(self, form, name="voiceedge.test"):
        self.stream = io.StringIO()
        self.logger = logging.Logger(name, logging.DEBUG)  # noqa: LOG001 - no other test shall hear it
        self.logger.addHandler(Lines(form, self.stream))

    @property
    def text(self):
        return self.stream.getvalue()

    @property
    def objects(self):
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture(params=["text", "json"])
def form(request):
    return request.param


def test_text_lines_are_as_people_know_them():
    log = Log("text")
    log.logger.warning("the keys of %s cannot be read", "here")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} WARNING the keys of here cannot be read\n", log.text)


def test_a_json_line_is_one_object():
    log = Log("json")
    with in_session("sess_1"):
        log.logger.info("said %d", 1)
    log.logger.error("done")
    first, second = log.objects
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("time"))
    assert first == {"level": "info", "logger": "voiceedge.test", "message": "said 1", "session": "sess_1"}
    assert set(second) == {"time", "level", "logger", "message"}


def test_the_time_is_rfc_3339_in_utc():
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"
    assert rfc3339(1_795_473_791.25) == "2026-11-23T22:43:11.250Z"


def test_a_text_line_names_its_session_once():
    log = Log("text")
    with in_session("sess_1"):
        log.logger.info("session %s opened", "sess_1")
        log.logger.info("turn 1 failed")
    first, second = log.text.splitlines()
    assert first.endswith("INFO    session sess_1 opened")
    assert second.endswith("INFO    sess_1 turn 1 failed")


async def test_tasks_and_timers_of_a_session_belong_to_it_and_those_beside_it_do_not():
    log, done = Log("json"), asyncio.Event()

    async def session(name):
        with in_session(name):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(asyncio.to_thread(log.logger.info, "in a thread that asyncio began"))
            asyncio.get_running_loop().call_soon(log.logger.info, "in a timer")
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(session("sess_a"))
        tasks.create_task(session("sess_b"))
    log.logger.info("beside")
    done.set()
    lines = [(line["message"], line.get("session")) for line in log.objects]
    assert lines.pop() == ("beside", None)
    assert sorted(lines) == sorted(
        (text, name) for text in ("in a thread that asyncio began", "in a timer") for name in ("sess_a", "sess_b")
    )


def test_a_step_that_is_run_in_a_copy_of_the_sessions_context_belongs_to_it():
    log = Log("json")
    with in_session("sess_1"):
        context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(log.logger.info, "a step"))
    thread.start()
    thread.join()
    assert log.objects[0]["session"] == "sess_1"


# ── what is not written ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        (f"ek_{JWT}", JWT),
        ("key ve_0123456789abcdef was refused", "0123456789"),
        (f"Authorization: Bearer {JWT}", JWT),
        ("authorization: bearer opaque/key+1=", "opaque"),
        ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("openai-insecure-api-key.sk-whatever, realtime", "sk-whatever"),
        ("GET /v1/realtime?model=x&api_key=abc HTTP/1.1", "abc"),
        ("redis://user:pass@host:6379/0 is out of reach", "pass"),
        ("the keys of https://a.example/jwks?key=abc cannot be read", "abc"),
    ],
)
def test_what_looks_like_a_key_or_a_query_is_struck_out(form, line, secret):
    log = Log(form)
    log.logger.error("%s", line)
    log.logger.error("failed", exc_info=raised(OSError(line)))
    assert secret not in log.text
    assert STRUCK in log.text or "\\u2026" in log.text


@pytest.mark.parametrize("line", ["max_active_sessions is 8", "Are both clocks right? Yes.", "drive_by_wire", "a == b"])
def test_other_lines_are_left_alone(line):
    log = Log("text")
    log.logger.error("%s", line)
    assert line in log.text


def raised(error):
    try:
        raise error
    except type(error) as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (EngineFailed("The graph broke."), True),
        (ConfigError("No such file."), True),
        (FileNotFoundError(2, "No such file or directory"), True),
        (NameError("name 'suppress' is not defined"), True),
        (type("OfALibrary", (TypeError,), {})("MARKER"), False),
        (ValueError("cannot say 'MARKER'"), False),
        (KeyError("MARKER"), False),
        (InvalidRequest("Unknown event type 'MARKER'."), False),
        (UnicodeEncodeError("utf-8", "MARKER", 0, 1, "surrogates"), False),
    ],
)
def test_the_text_of_an_exception_is_written_only_where_it_quotes_nobody(form, error, shown):
    log = Log(form)
    log.logger.error("It failed.", exc_info=raised(error))
    assert (str(error) in log.text) == shown
    assert type(error).__name__ in log.text
    assert "MARKER" not in log.text
    assert "test_logs.py" in log.text  # where it was raised


def test_neither_is_that_of_its_causes_of_a_group_or_of_what_was_being_handled(form):
    log = Log(form)
    inner = raised(RuntimeError("MARKER"))
    group = raised(ExceptionGroup("MARKER", [inner]))
    group.__cause__ = raised(ValueError("MARKER"))
    inner.__context__ = raised(LookupError("MARKER"))
    log.logger.error("failed", exc_info=group)
    assert "MARKER" not in log.text
    for name in ("ValueError", "ExceptionGroup", "RuntimeError", "LookupError"):
        assert name in log.text


def test_a_chain_without_end_is_told_to_an_end(form):
    log = Log(form)
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    log.logger.error("failed", exc_info=first)
    assert 0 < log.text.count("ValueError") < 10


def test_what_asyncio_says_of_lost_tasks_is_said_without_what_they_hold():
    log = Log("text", "asyncio")
    log.logger.error("Task exception was never retrieved\nfuture: <Task result=%r>", "MARKER")
    log.logger.error("Exception in callback Session._said('MARKER')")
    assert "MARKER" not in log.text
    assert "Task exception was never retrieved" in log.text
    assert "Exception in callback Session._said" in log.text


def test_a_line_that_cannot_be_written_shows_nothing_of_itself(form, capfd):
    log = Log(form)
    log.logger.error("%d words", "MARKER")
    assert "MARKER" not in log.text + "".join(capfd.readouterr())
    assert "voiceedge.test" in log.text


# ── what somebody writes into a line ──────────────────────────────────────────────────────────────────────


def test_nobody_writes_a_line_that_looks_like_the_nodes_own():
    log = Log("text")
    log.logger.info("item %s", "x\n2026-01-01 00:00:00,000 INFO    session sess_1 opened\r\x1b[31m")
    log.logger.error("failed", exc_info=raised(OSError("a\n2026-01-01 00:00:00,000 INFO    forged")))
    assert [line for line in log.text.splitlines() if line.startswith("2026-01-01 ")] == []
    assert "\x1b" not in log.text
    assert "\r" not in log.text


@given(st.text())
def test_what_is_printable_is_so_and_what_was_stays(text):
    assert printable(text).isprintable()
    assert printable(text) == text or not text.isprintable()


@given(st.text(st.characters(), min_size=1))
def test_a_json_line_is_one_line_of_ascii_whatever_is_in_it(text):
    log = Log("json")
    log.logger.info("%s", text)
    assert log.text.isascii()
    assert log.text.count("\n") == 1
    assert "message" in log.objects[0]


# ── a process ─────────────────────────────────────────────────────────────────────────────────────────────

PROCESS = """
import logging, sys, threading, warnings
from voiceedge.server import logs
logs.configure({level!r}, {form!r})
said = "MARKER"  # a line of source may be shown
logging.getLogger("voiceedge.x").debug("own debug")
logging.getLogger("voiceedge.x").info("own info")
logging.getLogger("websockets.server").debug("< Authorization: MARKER")
logging.getLogger("uvicorn.error").info("GET /?MARKER")
logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
warnings.warn("deprecated", stacklevel=1)
def die(): raise ValueError(said)
thread = threading.Thread(target=die, name="worker"); thread.start(); thread.join()
class Broken:
    def __del__(self): raise ValueError(said)
Broken()
"""


def process(level, form):
    code = PROCESS.format(level=level, form=form)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr


def test_everything_a_process_says_goes_one_way():
    objects = [json.loads(line) for line in process("debug", "json").splitlines()]
    assert [one["logger"] for one in objects] == [
        "voiceedge.x",
        "voiceedge.x",
        "uvicorn.error",
        "py.warnings",
        "voiceedge",
        "voiceedge",
    ]
    assert "Thread worker has died." in [one["message"] for one in objects]


@pytest.mark.parametrize("form", ["text", "json"])
def test_at_debug_level_libraries_say_no_more_than_at_any_other(form):
    said = process("debug", form)
    assert "MARKER" not in said
    assert "\x1b" not in said
    assert "own debug" in said


def test_the_level_is_the_nodes_own():
    assert "own info" not in process("warning", "text")
    assert "own info" in process("info", "text")
    assert "Invalid HTTP" not in process("error", "text")
