"""What models write: words to be spoken, clauses, calls, phonemes."""

from __future__ import annotations

import unicodedata

from tests.fuzz.target import Target
from voiceedge.conversation.agreement import Agreement
from voiceedge.conversation.backchannel import is_backchannel
from voiceedge.conversation.ending import ending
from voiceedge.conversation.speakable import speakable
from voiceedge.conversation.text import Clauses
from voiceedge.engines.detokenise import StopText
from voiceedge.engines.tool_calls import CallReader, CallWatch

_UNSPEAKABLE = frozenset({"So", "Cs", "Co", "Cn", "Cc"})


def words(data: bytes) -> None:
    """Any text: what is left of it can be spoken, and nothing more is taken out of that."""
    text = data.decode("utf-8", "replace")
    spoken = speakable(text)
    odd = [char for char in spoken if unicodedata.category(char) in _UNSPEAKABLE and char != "°"]
    assert not odd
    assert not spoken or any(char.isalnum() for char in spoken)


def clauses(data: bytes) -> None:
    """An answer in pieces as long as the first byte says: its clauses add up to it, and do not depend on the pieces."""
    text, step = data[1:].decode("utf-8", "replace"), 1 + (data[0] if data else 0)
    whole, cut = Clauses(), Clauses()
    expected = [*whole.push(text), *whole.flush()]
    found = [clause for begin in range(0, len(text), step) for clause in cut.push(text[begin : begin + step])]
    assert [*found, *cut.flush()] == expected
    assert "".join(clause.written for clause in expected) == text


def calls(data: bytes) -> None:
    """What may be a call, in tokens of as many letters as the first byte says."""
    text, step = data[1:].decode("utf-8", "replace"), 1 + (data[0] if data else 0)
    watch, reader, said = CallWatch(), CallReader(()), ""
    for token, begin in enumerate(range(0, len(text), step)):
        piece = text[begin : begin + step]
        watch.nears_call(piece)
        if watch.begins_call(piece):
            break
        said += watch.push(token, piece)
    assert text.startswith(said)
    watch.flush()
    for token, begin in enumerate(range(0, len(text), step)):
        list(reader.read(token, text[begin : begin + step]))


def stops(data: bytes) -> None:
    """Stop strings, before the first line's end, and a text: no more of it is let through than up to the first."""
    before, _, rest = data.decode("utf-8", "replace").partition("\n")
    until = [stop for stop in before.split("|") if stop]
    held = StopText(until)
    said = "".join(held.push(letter) for letter in rest) + ("" if held.stopped else held.flush())
    assert rest.startswith(said)
    assert not any(stop in said for stop in until)


def heard(data: bytes) -> None:
    """What speech-to-text may have understood, a line for each hypothesis: what is shown is never taken back."""
    hypotheses, agreement, shown = data.decode("utf-8", "replace").split("\n"), Agreement(), ""
    for text in hypotheses:
        ending(text)
        is_backchannel(text)
        shown += agreement.push(text)
    rest = agreement.finish(hypotheses[-1])
    assert rest is None or isinstance(rest, str)


_ANSWER = (
    b"\x03Yes. **Paris** is the [capital](http://x.y) of France, and it lies on the Seine:\n"
    b"1. a\n```py\nx = 1\n```\nDone!"
)
_MARKDOWN = "# Title\n* a *b* __c__ ~~d~~ `e`\n> q\n---\n![i](u) https://www.a.b/c 😀 Dr. Who e.g. 3.5 °C…".encode()
_CALL = b'\x02<tool_call>\n{"name": "weather", "arguments": {"city": "a\\"}b"}}\n</tool_call>'
TARGETS = (
    Target(
        "words",
        words,
        (),
        (_MARKDOWN, b"*" * 200, b"[" * 100 + b"](" * 50, b"`a" * 99),
        ("```", "](", "http://", "~~"),
        600,
    ),
    Target(
        "clauses",
        clauses,
        (),
        (_ANSWER, b"\x00" + _MARKDOWN, b"\x10" + b"and so on, " * 20),
        ("```", ". ", "\n", "Dr."),
        300,
        1.0,
    ),
    Target(
        "calls",
        calls,
        (),
        (_CALL, b"\x00```json\n{", b"\x05Hello <too"),
        ("<tool_call>", "```json", '{"name": "'),
        1024,
    ),
    Target(
        "heard",
        heard,
        (),
        (b"What is\nWhat is the capital\nWhat is the capital of France?", b"uh-huh\nMhm."),
        max_bytes=512,
    ),
    Target("stops", stops, (), (b"<end>|User:\nHello<en<end>", b"aa|ab\naab")),
)
