"""Function calls in an answer: where one begins, what it says, when there are no more.

The format is that of Hermes and Qwen: `<tool_call>`, a line of JSON, `</tool_call>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from voiceedge.engines import Call, CallClosed, CallOpened, CallPiece, Piece, Prompt, Step
from voiceedge.engines.constraint import Constraint, Grammars, Within
from voiceedge.engines.detokenise import overlap

MOST_CALLS = 8
"""In one answer: nobody asks for more things in one breath, and a model that goes on is lost."""
BEGIN = "<tool"
"""So much of a call's markup is no accident."""

FENCE = "```json"
"""How a model that was trained on code may begin one."""

_BARE = re.compile(r"^\s*(\{|```json)", re.MULTILINE)
_CODE = re.compile(r"^\s*[{`]", re.MULTILINE)
_HEADER = re.compile(r'[^{]*\{"name": "([^"]*)"(, "arguments": )?')


class CallWatch:
    """Looks for the beginning of a call in what a model writes freely.

    That is `<tool`, in one token or several, or a first or second line that begins with a brace or as JSON in Markdown:
    a model of half a billion weights may forget the markup, and no spoken sentence begins so. What may become a call is
    held back, with the blanks before it.
    """

    def __init__(self) -> None:
        self._held = ""
        self._line = ""
        self._lines = 0
        self.tokens: list[int] = []
        """That may be the beginning of the markup."""
        self.lead = ""
        """What the first of them stands for in front of the markup."""

    def begins_call(self, text: str) -> bool:
        """Whether a next token that stands for `text` is, or completes, the beginning of a call."""
        if BEGIN in self._held + text:
            return True
        return self._lines <= 1 and _BARE.search(self._line + text) is not None

    def nears_call(self, text: str) -> bool:
        """Whether a next token that stands for `text` leads to a call, or to code, which is where one would follow."""
        return BEGIN in self._held + text or _CODE.search(self._line + text) is not None

    def push(self, token: int, text: str) -> str:
        """What can be said with a next token that does not begin a call."""
        *ended, self._line = (self._line + text).split("\n")
        self._lines += sum(not line.isspace() for line in ended if line)
        text = self._held + text
        markup = overlap(text, BEGIN) or overlap(text, FENCE)
        said = text[: len(text) - markup].rstrip()
        if markup == 0:
            self.tokens, self.lead = [], ""
        elif self.tokens:
            self.tokens.append(token)
        else:
            self.tokens, self.lead = [token], text[len(self._held) : len(text) - markup]
        self._held = text[len(said) :]
        return said

    def flush(self) -> str:
        """What was held back and has not become a call after all."""
        held, self._held = self._held, ""
        return held


class CallReader:
    """Reads one call while it is written.

    A call that may still become the same as one of `earlier` is not opened before it differs.
    """

    def __init__(self, earlier: tuple[Call, ...]) -> None:
        self._earlier = earlier
        self._text = ""
        self._name: str | None = None
        self._arguments: str | None = None
        self._opened = False
        self._sent = 0
        self._object = _ObjectEnd()
        self.call: Call | None = None
        """The call, once its arguments are complete."""

    @property
    def within(self) -> Within:
        """What the JSON that has been written has to end next."""
        return "string" if self._object.in_string else "structure"

    @property
    def is_repetition(self) -> bool:
        """Whether the call is complete and the same as an earlier one."""
        return self.call in self._earlier

    def read(self, token: int, text: str) -> Iterator[Step]:
        """What a next token of the call, which stands for `text`, means."""
        if self.call is not None:
            yield Piece(token, "")
            return
        self._take(text)
        opens = not self._opened and self._name is not None and not self._may_repeat()
        self._opened |= opens
        more = (self._arguments or "")[self._sent :] if self._opened else ""
        if not more:
            yield Piece(token, "")
        if opens:
            assert self._name is not None
            yield CallOpened(self._name)
        if more:
            self._sent += len(more)
            yield CallPiece(token, more)
        if self._object.is_over:
            assert self._name is not None and self._arguments is not None  # noqa: PT018  the header came first
            self.call = Call(self._name, self._arguments)
            if self._opened:
                yield CallClosed()

    def _take(self, text: str) -> None:
        if self._arguments is None:
            self._text += text
            header = _HEADER.match(self._text)
            if header is None:
                return
            self._name = header[1]
            if header[2] is None:
                return
            self._arguments = ""
            text = self._text[header.end() :]
        self._arguments += self._object.push(text)

    def _may_repeat(self) -> bool:
        return any(
            call.name == self._name and call.arguments.startswith(self._arguments or "") for call in self._earlier
        )


class _ObjectEnd:
    """Finds where a JSON object ends."""

    def __init__(self) -> None:
        self._depth = 0
        self.in_string = self._escaped = False
        self.is_over = False

    def push(self, text: str) -> str:
        """As much of `text` as belongs to the object."""
        for i, character in enumerate(text):
            if self._escaped:
                self._escaped = False
            elif self.in_string:
                self._escaped, self.in_string = character == "\\", character != '"'
            elif character == '"':
                self.in_string = True
            else:
                self._depth += (character in "{[") - (character in "}]")
                if self._depth == 0:
                    self.is_over = True
                    return text[: i + 1]
        return text


class Calling:
    """The calls of one answer."""

    def __init__(self, grammars: Grammars, prompt: Prompt) -> None:
        self._grammars = grammars
        self._tools = prompt.tools
        self._choice = prompt.tool_choice
        self._constraint: Constraint | None = None
        self._reader = CallReader(())
        self._calls: tuple[Call, ...] = ()
        self.watch = CallWatch()
        # small models take what a function returned as a reason to call it again, which would start a second timer
        last = next((message.role for message in reversed(prompt.messages) if message.role != "system"), "user")
        self.may_call = self._choice.mode != "none" and last != "tool"
        """Whether a call may begin where the model likes."""
        self.is_over = False
        """Whether there can be no more calls, and so nothing more of the answer."""
        if self._choice.mode == "required":
            self._constraint = grammars.begin(self._tools, self._choice)

    @property
    def is_open(self) -> bool:
        """Whether a call is being written."""
        return self._constraint is not None

    @property
    def has_called(self) -> bool:
        """Whether a call stands in the answer: what a model says behind it is made up."""
        return bool(self._calls)

    def begin(self) -> None:
        """A call begins, and goes on from the markup that has been written."""
        self._reader = CallReader(self._calls)
        if self.watch.tokens:
            self._constraint = self._grammars.begin(self._tools, self._choice, self.watch.lead)
            if self._constraint.take(self.watch.tokens):
                return
        self._constraint = self._grammars.begin(self._tools, self._choice)

    def next(self, logits: NDArray[np.float32], *, hurry: bool) -> list[int]:
        """The next tokens of the call, at least one: the best by `logits` and those that can only follow.

        In a `hurry` the call is brought to its end.
        """
        constraint = self._constraint
        assert constraint is not None
        end = self._reader.within if hurry else None
        return constraint.forced() or [constraint.choose(logits, end), *constraint.forced()]

    def read(self, token: int, text: str) -> Iterator[Step]:
        """What `token` of the call, which stands for `text`, means."""
        return self._reader.read(token, text)

    def end(self) -> None:
        """Look whether the call has ended."""
        if self._constraint is None or not self._constraint.is_complete:
            return
        self._constraint = None
        self.watch = CallWatch()
        is_last = self._reader.is_repetition or not self._choice.parallel or self._choice.name is not None
        assert self._reader.call is not None
        self._calls += (self._reader.call,)
        self.is_over = is_last or len(self._calls) == MOST_CALLS
