"""What the node writes into its log: lines for people or JSON, with the session that they belong to, and no secrets.

Two rules keep out of the log what does not belong there, whoever writes the line. The text of an exception is written
only where it is known to quote nobody: engines, tokenizers and templates put what they choked on into theirs, which is
what somebody said. And what has the form of a key or of a URL's query is struck out of every line.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, TextIO

from voiceedge.errors import NodeError, OperatorError

OWN = "voiceedge"
"""Loggers below this one follow `log_level`; those of libraries say nothing below a warning: at debug level they write
out headers and whole messages."""
MAX_CAUSES = 8
"""Of a chain of exceptions, and of a group of them."""
OF_PYTHON = frozenset(
    {
        AttributeError,
        ImportError,
        ModuleNotFoundError,
        NameError,
        RecursionError,
        TypeError,
        UnboundLocalError,
        ZeroDivisionError,
    }
)
"""Errors in programs, which name what is in the program. Not their subclasses: libraries make those."""
WITHHELD = "its text is left out: it may quote what was said"
STRUCK = "[…]"

_session: ContextVar[str | None] = ContextVar("session", default=None)
_SECRET = re.compile(
    r"(?<!\w)(?:ek_|ve_)[\w.-]{6,}"  # client secrets, static keys
    r"|(?<!\w)eyJ[\w-]+\.[\w-]+\.[\w-]*"  # tokens
    r"|(?<=openai-insecure-api-key\.)[^\s,;\"']+"
    r"|(?<=bearer )[^\s,;\"']+"
    r"|(?<=basic )[\w+/=-]{6,}"
    r"|(?<=://)[^\s/@\"']+(?=@)"  # name and password in a URL
    r"|(?<=[\w/])\?[^\s\"'<>]+",  # a query
    re.IGNORECASE,
)
_FIRST_OF_ASYNCIO = re.compile(r"[^\n<(]*")


@contextmanager
def in_session(session_id: str) -> Iterator[None]:
    """Whatever is logged inside, also by tasks that begin there, belongs to this session."""
    token = _session.set(session_id)
    try:
        yield
    finally:
        _session.reset(token)


def configure(level: str, form: str, stream: TextIO | None = None) -> None:
    """Send every line of this process one way: the node's own, those of libraries, Python's warnings, dying threads.

    Args:
        level: least level of the node's own lines: debug, info, warning or error.
        form: `text` or `json`.
        stream: where lines go; None for stderr.
    """
    handler = Lines(form, stream)
    own = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    for former in [one for one in root.handlers if isinstance(one, Lines)]:
        root.removeHandler(former)
    root.addHandler(handler)
    root.setLevel(max(own, logging.WARNING))
    logging.getLogger(OWN).setLevel(own)
    logging.captureWarnings(capture=True)
    # else Python writes their text to stderr itself
    threading.excepthook = _thread_died
    sys.unraisablehook = _went_nowhere


class Lines(logging.StreamHandler[Any]):
    """Writes lines to a stream; one that cannot be written is lost, and nothing of it is shown elsewhere."""

    def __init__(self, form: str, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self.setFormatter(JsonLines() if form == "json" else TextLines())

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Say which line is lost; logging itself would write out what was to be in it."""
        with suppress(Exception):
            self.stream.write(f"A line of {record.name} (line {record.lineno}) could not be written.\n")


class TextLines(logging.Formatter):
    """Lines for people: when, how bad, and what; with the session where the line does not name it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """One line, and behind it those of an exception."""
        session, message = _session_of(record), _message(record)
        named = message if session is None or session in message else f"{session} {message}"
        first, *others = named.split("\n")  # a line that goes on is marked: nobody shall write one that looks like ours
        lines = [f"{self.formatTime(record)} {record.levelname:<7} {first}", *(f"  | {other}" for other in others)]
        return "\n".join(map(printable, [*lines, *_exception(record)]))


class JsonLines(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`; `session` and `exception` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, in ASCII."""
        line = {
            "time": rfc3339(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        if (session := _session_of(record)) is not None:
            line["session"] = session
        if exception := "\n".join(_exception(record)):
            line["exception"] = exception
        return json.dumps(line)  # escapes half characters (\ud800) as well, which UTF-8 has no bytes for


def rfc3339(at: float) -> str:
    """A moment in seconds since 1970, in UTC, to the millisecond."""
    whole, milliseconds = divmod(int(at * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{milliseconds:03d}Z"


def printable(text: str) -> str:
    r"""What a stranger wrote, safe for a line and a terminal: what is not visible is spelt as \x1b, \n or \ud800."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def named(error: BaseException) -> str:
    """What an exception is called, with its own text only where that is known to quote nobody."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    # ours say what happened and never to what; the system's name files and hosts; onnxruntime's name nodes and shapes
    is_known = isinstance(error, NodeError | OperatorError | OSError | MemoryError) or kind in OF_PYTHON
    if not (is_known or kind.__module__.startswith("onnxruntime.")):
        return f"{name} ({WITHHELD})"
    text = str(error)
    return f"{name}: {text}" if text else name


def _session_of(record: logging.LogRecord) -> str | None:
    session: str | None = getattr(record, "session", None)
    return session if session is not None else _session.get()


def _message(record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.name == "asyncio":  # goes on with what tasks and futures hold, results and exceptions among it
        first = _FIRST_OF_ASYNCIO.match(text)
        text = first[0].rstrip() if first is not None else ""
    return _SECRET.sub(STRUCK, text)


def _exception(record: logging.LogRecord) -> list[str]:
    error = record.exc_info[1] if record.exc_info else None
    return [] if error is None else [_SECRET.sub(STRUCK, line) for line in _told(error, MAX_CAUSES)]


def _told(error: BaseException, left: int) -> Iterator[str]:
    """Where an exception comes from, what caused it first."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and left:
        yield from _told(cause, left - 1)
        yield "which led to:"
    for place in traceback.format_tb(error.__traceback__):
        yield from place.rstrip("\n").split("\n")
    yield named(error)
    if isinstance(error, BaseExceptionGroup) and left:
        for inner in error.exceptions[:MAX_CAUSES]:
            yield from (f"  | {line}" for line in _told(inner, left - 1))


def _thread_died(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_value is not None and failure.exc_type is not SystemExit:
        name = failure.thread.name if failure.thread is not None else "?"
        logging.getLogger(OWN).critical("Thread %s has died.", name, exc_info=failure.exc_value)


def _went_nowhere(failure: sys.UnraisableHookArgs) -> None:
    logging.getLogger(OWN).error("An exception had nowhere to go.", exc_info=failure.exc_value)
