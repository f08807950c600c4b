"""Function calls held to a grammar: which tokens may come next, so that a call fits the schema of its function.

llguidance (MIT) does the work: it compiles a schema in 2 ms and says in 0.1 ms which of 152,000 words may follow.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from voiceedge.engines import Tool, ToolChoice
from voiceedge.engines.detokenise import bytes_of
from voiceedge.engines.schema import Unfit, narrowed, require_end, written
from voiceedge.errors import InvalidTool

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

CALL_BEGIN, CALL_END = "<tool_call>", "</tool_call>"
"""Around a call, as Hermes and Qwen write it."""
MOST_TOOLS = 128
"""As many as OpenAI allows."""
LONGEST_FORCED = 16
"""Tokens that are run at once where the grammar leaves no choice: half a chunk of prefill."""
SCHEMAS_KEPT = 256
"""That were found to be good; the one that came first is forgotten."""
LEXER_STATES = 20_000
"""Of one call's grammar, 1 to 2 kB each: a pattern cannot take more memory than that."""

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
Within = Literal["string", "structure"]
_CLOSING: dict[Within, tuple[bytes, ...]] = {"string": (b'"',), "structure": (b"]", b"}")}
"""What a word begins with that brings JSON nearer to its end."""
_SPACED = {"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": False}
"""As `json.dumps` writes JSON and models were trained on. No other whitespace, and so none without end."""


class Grammars:
    """Grammars for the calls of one model. Used by several threads at the same time."""

    def __init__(self, tokenizer: Tokenizer, vocabulary: int, stop_tokens: Iterable[int]) -> None:
        """Take what grammars are made of; nothing is made, or even imported, before there are tools.

        Args:
            tokenizer: byte-level.
            vocabulary: words that the logits are of, padding included.
            stop_tokens: end an answer.
        """
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._stop_tokens = sorted(stop_tokens)
        self._words: LLTokenizer | None = None
        self._closing: dict[Within, NDArray[np.bool_]] = {}
        self._schemas: dict[str, str] = {}
        self._lock = threading.Lock()

    def check(self, tools: tuple[Tool, ...]) -> None:
        """Compile every schema that has not been seen.

        The first call of all also indexes the vocabulary: 0.15 s and 13 MB for 49,000 words, 0.5 s and 30 MB for
        152,000.

        Raises:
            InvalidTool: calls cannot be held to one of `tools`.
        """
        if len(tools) > MOST_TOOLS:
            raise InvalidTool(f"There are {len(tools)} functions; there may be {MOST_TOOLS}.", param="tools")
        names: set[str] = set()
        for i, tool in enumerate(tools):
            if not _NAME.fullmatch(tool.name):
                raise InvalidTool(
                    f"The name of a function is 1 to 64 letters, digits, _ or -, which {tool.name[:80]!r} is not.",
                    param=f"tools[{i}].name",
                )
            if tool.name in names:
                raise InvalidTool(f"Two functions have the name {tool.name}.", param=f"tools[{i}].name")
            names.add(tool.name)
            try:
                self._schema(tool)
            except Unfit as error:
                raise InvalidTool(
                    f"The parameters of {tool.name} cannot be used: {error}.", param=f"tools[{i}].parameters"
                ) from error

    def begin(self, tools: tuple[Tool, ...], choice: ToolChoice, lead: str = "") -> Constraint:
        """Begin a call of one of `tools`, or of the one that `choice` names.

        `lead` is text that must stand before the markup, because a token holds some of both.

        Raises:
            InvalidTool: calls cannot be held to one of these, or to all of them at once, or there is none.
        """
        offered = tuple(tool for tool in tools if choice.name in {None, tool.name})
        if not offered:
            raise InvalidTool(f"There is no function {choice.name}.", param="tool_choice")
        self.check(offered)
        opening, closing = json.dumps(f'{lead}{CALL_BEGIN}\n{{"name": "'), json.dumps(f"}}\n{CALL_END}")
        lines = [f"start: {opening} call {closing}", "call: " + " | ".join(f"call_{i}" for i in range(len(offered)))]
        for i, tool in enumerate(offered):
            header = json.dumps(f'{tool.name}", "arguments": ')
            lines += [f"call_{i}: {header} arguments_{i}", f"arguments_{i}: %json {self._schema(tool)}"]
        matcher = self._compile("\n".join(lines))
        return Constraint(matcher, self._closing)

    def _schema(self, tool: Tool) -> str:
        """What the arguments of `tool` are held to, as it stands in a grammar.

        Raises:
            Unfit: they cannot be held to it.
        """
        asked = written(tool.parameters)
        with self._lock:
            schema = self._schemas.get(asked)
        if schema is None:
            held_to = narrowed(asked)
            schema = json.dumps(held_to | {"x-guidance": _SPACED})
            matcher = self._compile(f"start: %json {schema}")
            if not matcher.is_error():
                matcher.compute_bitmask()  # what cannot be fulfilled shows here
            if matcher.is_error():
                raise Unfit(_reason(matcher.get_error()))
            require_end(held_to)
            with self._lock:
                if len(self._schemas) == SCHEMAS_KEPT:
                    del self._schemas[next(iter(self._schemas))]
                self._schemas[asked] = schema
        return schema

    def _compile(self, grammar: str) -> LLMatcher:
        from llguidance import LLMatcher, LLParserLimits  # noqa: PLC0415  most sessions have no tools

        limits = LLParserLimits(max_lexer_states=LEXER_STATES, verbose_errors=False)
        return LLMatcher(self._indexed_words(), LLMatcher.grammar_from_lark(grammar), limits=limits, log_level=0)

    def _indexed_words(self) -> LLTokenizer:
        from llguidance import LLTokenizer, TokenizerWrapper  # noqa: PLC0415  see above

        with self._lock:
            if self._words is None:
                vocabulary = _Vocabulary(self._tokenizer, self._vocabulary, self._stop_tokens[0])
                for kind, first in _CLOSING.items():
                    ends = (word.startswith(first) and not word.strip(b'"]}\n') for word in vocabulary.tokens)
                    self._closing[kind] = np.fromiter(ends, np.bool_)
                self._words = LLTokenizer(
                    TokenizerWrapper(vocabulary), n_vocab=self._vocabulary, eos_token=self._stop_tokens
                )
            return self._words


class Constraint:
    """Where one call stands in its grammar.

    A pattern may show only in the middle of a call that no lexer of a bounded size reads it, after words that nobody
    can foresee: that is its author's fault, and the model's weights have no part in it. So whatever is asked of a
    grammar raises InvalidTool where the library gives up.
    """

    def __init__(self, matcher: LLMatcher, closing: Mapping[Within, NDArray[np.bool_]]) -> None:
        self._matcher = matcher
        self._closing = closing
        self._require_order()

    @property
    def is_complete(self) -> bool:
        """Whether the call has ended; nothing may follow."""
        return self._matcher.is_stopped()

    def choose(self, logits: NDArray[np.float32], end: Within | None = None) -> int:
        """Take the most probable of the tokens that may come next, by `logits`, shape [vocabulary].

        If the call has to come to its `end`, and a token can end the string or the structure that it is within, it is
        one of these.
        """
        mask = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        self._require_order()
        allowed = np.unpackbits(mask, count=len(logits), bitorder="little").view(np.bool_)
        if end is not None and (closing := allowed & self._closing[end]).any():
            allowed = closing
        token = int(np.where(allowed, logits, np.float32(-np.inf)).argmax())
        self._matcher.consume_token(token)
        self._require_order()
        return token

    def take(self, tokens: list[int]) -> bool:
        """Put `tokens` behind the call; without effect and False where they do not fit."""
        taken = self._matcher.try_consume_tokens(tokens)
        self._require_order()
        if taken < len(tokens):
            self._matcher.rollback(taken)
            return False
        return True

    def forced(self) -> list[int]:
        """Tokens that must come next, and are put behind the call; none where there is a choice."""
        tokens = self._matcher.compute_ff_tokens()[:LONGEST_FORCED]
        self._matcher.consume_tokens(tokens)
        self._require_order()
        return tokens

    def _require_order(self) -> None:
        if self._matcher.is_error():
            raise InvalidTool(
                "The arguments of a function cannot be held to its parameters any further: "
                f"{_reason(self._matcher.get_error())}. Simpler patterns can be.",
                param="tools",
            )


class _Vocabulary:
    """The model's words as llguidance's TokenizerWrapper asks for them."""

    bos_token_id: int | None = None

    def __init__(self, tokenizer: Tokenizer, vocabulary: int, stop_token: int) -> None:
        self.eos_token_id = stop_token
        self.tokens = list(map(partial(bytes_of, tokenizer, tokenizer.get_added_tokens_decoder()), range(vocabulary)))
        added = tokenizer.get_added_tokens_decoder()
        self.special_token_ids = [token for token, word in added.items() if word.special]
        self._tokenizer = tokenizer

    def __call__(self, text: bytes) -> list[int]:
        tokens: list[int] = self._tokenizer.encode(text.decode(), add_special_tokens=False).ids
        return tokens


def _reason(error: str) -> str:
    """The library's own words without its quotation of the grammar."""
    text = re.split(r"\n {3,}\d* \||<non-verbose/>", error, maxsplit=1)[0]
    return " ".join(re.sub(r"^at \d+\(\d+\): (failed to compile JSON schema: )?", "", text).split()).rstrip(".")
