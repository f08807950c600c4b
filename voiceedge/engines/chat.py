"""A chat as token ids: the model's own template, with contents that cannot pass for markup."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from voiceedge.engines import Message, Prompt, Tool
from voiceedge.engines.constraint import CALL_BEGIN, CALL_END
from voiceedge.errors import Refused

_INSTRUCTIONS = """\n
# Tools

You can call these functions:
{tools}

When one of them is needed to do what the user asks, answer only with a call of it:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>
When none is needed, answer in words."""
"""For models whose template knows no tools; behind the instructions, where it is part of every prompt's beginning."""
REFUSED = "invalid_prompt"
"""Code of a conversation that the model has no words for, such as two turns of the user where turns must alternate."""
_REFUSALS = (TemplateError, ArithmeticError, LookupError, TypeError, ValueError)
"""What a template raises, by `raise_exception` or where it expects another conversation. It is the same text for every
prompt, so that what it does to one of them is in the prompt: no engine is at fault, and none would do better."""
_NOW_WORDS = "Now answer in words, without a function."
_MARKER = re.compile("\ue000([0-9]{1,9})\ue001")
"""Stands in the rendered template where a content belongs: private-use characters, which no template has."""


class ChatFormat:
    """Renders prompts of one model.

    The template is rendered with markers in place of the contents, and the text is cut at them. Only the
    template's own text may give markup tokens; contents and tools are tokenised as plain text, so that nobody
    can end a message from within it.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: str,
        words: Mapping[str, str],
        stop_tokens: frozenset[int],
        begin_token: int | None = None,
    ) -> None:
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        self._words = dict(words)
        self._stop_tokens = stop_tokens
        self._begin = [] if begin_token is None else [begin_token]
        added = tokenizer.get_added_tokens_decoder()
        self._markup = {word.content: token for token, word in added.items() if word.special}
        longest_first = sorted(self._markup, key=len, reverse=True)
        # "(?!)" matches nothing: a vocabulary without markup
        self._markup_pattern = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
        # `<tool_call>` is no special token, and the tokenizer takes it for one word wherever it stands
        self._words_of_markup = re.compile(
            "|".join(re.escape(word.content) for word in added.values() if not word.special) or "(?!)"
        )
        # trim and lstrip as in transformers' chat templates, for which these were written
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = _refuse
        environment.filters["tojson"] = _json
        self._template = environment.from_string(template)
        self._knows_tools = CALL_BEGIN in template and "tools" in template

    def tokens(self, prompt: Prompt, *, header: bool = True) -> list[int]:
        """Token ids of `prompt`; with `header` also the beginning of the answer."""
        return [token for part in self._parts(prompt.messages, prompt, header=header) for token in part]

    def opening(self, prompt: Prompt) -> list[int]:
        """Token ids that stand before the first thing a user adds to `prompt`."""
        user = Message("user", "")
        parts = list(self._parts((*prompt.messages, user), prompt, header=False))
        return [token for part in parts[:-1] for token in part]

    def _parts(self, messages: tuple[Message, ...], prompt: Prompt, *, header: bool) -> Iterator[list[int]]:
        """Ids of the template's pieces and the contents in turn; the last piece is the template's."""
        contents = _Contents()
        tools = prompt.tools if self._knows_tools else ()
        try:
            text = self._template.render(
                messages=self._shown(messages, prompt.tools, contents),
                tools=[_Tool(tool, contents) for tool in tools] or None,
                add_generation_prompt=header,
                **self._words,
            )
        except _REFUSALS as error:
            raise Refused(f"The model's chat template refuses this conversation: {error}", code=REFUSED) from error
        pieces = _MARKER.split(text)
        yield self._begin + self._template_tokens(pieces[0])
        for marker, piece in zip(pieces[1::2], pieces[2::2], strict=True):
            yield self._content_tokens(contents.at(int(marker)))
            yield self._template_tokens(piece)

    def _shown(
        self, messages: tuple[Message, ...], tools: tuple[Tool, ...], contents: _Contents
    ) -> list[dict[str, str]]:
        """The chat as the template sees it: no more than roles and markers, and the markup of calls."""
        shown = [{"role": message.role, "content": _shown_content(message, contents)} for message in messages]
        # a template may look at messages[0] without asking whether there is one
        if not shown or (tools and not self._knows_tools and shown[0]["role"] != "system"):
            shown.insert(0, {"role": "system", "content": contents.add(Message("system", ""))})
        if tools and not self._knows_tools:
            lines = "\n".join(_Tool(tool, contents).marker for tool in tools)
            shown[0]["content"] += _INSTRUCTIONS.format(tools=lines)
        return list(_with_outputs(shown))

    def _template_tokens(self, text: str) -> list[int]:
        tokens: list[int] = []
        begin = 0
        for found in self._markup_pattern.finditer(text):
            tokens += self._plain_tokens(text[begin : found.start()])
            tokens.append(self._markup[found.group()])
            begin = found.end()
        return tokens + self._plain_tokens(text[begin:])

    def _content_tokens(self, message: Message) -> list[int]:
        tokens = list(message.tokens)
        # the template closes the message itself
        while tokens and tokens[-1] in self._stop_tokens:
            tokens.pop()
        return tokens or self._content_text_tokens(message.text)

    def _content_text_tokens(self, text: str) -> list[int]:
        """Ids of `text` in which words of the vocabulary that stand for markup are spelled out."""
        cuts = [0, *(found.start() + 1 for found in self._words_of_markup.finditer(text)), len(text)]
        return [token for begin, end in pairwise(cuts) for token in self._plain_tokens(text[begin:end])]

    def _plain_tokens(self, text: str) -> list[int]:
        tokens: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids if text else []
        return tokens


class _Contents(list[Message]):
    """What clients and the model wrote, by the number in its marker."""

    def add(self, content: Message) -> str:
        """The marker that stands for `content`."""
        self.append(content)
        return f"\ue000{len(self) - 1}\ue001"

    def at(self, number: int) -> Message:
        """The content that a marker stands for.

        Raises:
            Refused: none; a client wrote the marker itself, in a tool that a template takes to pieces.
        """
        if number >= len(self):
            raise Refused("A tool holds characters of private use that the model's chat template needs.", code=REFUSED)
        return self[number]


class _Tool(dict[str, Any]):
    """A tool that is written as plain text: what clients send is content, not template."""

    def __init__(self, tool: Tool, contents: _Contents) -> None:
        function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
        super().__init__(type="function", function=function)
        self.marker = contents.add(Message("tool", json.dumps(self, ensure_ascii=False)))


def _shown_content(message: Message, contents: _Contents) -> str:
    """Markers of a message's text and calls. The ids of what the model wrote hold its calls already."""
    if message.tokens or not message.calls:
        return contents.add(message)
    lines = [contents.add(Message("assistant", message.text))] if message.text else []
    for call in message.calls:
        text = f'{{"name": {json.dumps(call.name)}, "arguments": {call.arguments}}}'
        lines += [CALL_BEGIN, contents.add(Message("assistant", text)), CALL_END]
    return "\n".join(lines)


def _with_outputs(shown: list[dict[str, str]]) -> Iterator[dict[str, str]]:
    """The chat with what functions returned in the user's place, as Qwen's template has it.

    Done here and not by the template, because a small model answers a bare result with the same call again.
    """
    outputs: list[str] = []
    for message in shown:
        if message["role"] == "tool":
            outputs.append(f"<tool_response>\n{message['content']}\n</tool_response>\n")
            continue
        if outputs:
            yield {"role": "user", "content": "".join(outputs) + _NOW_WORDS}
            outputs = []
        yield message
    if outputs:
        yield {"role": "user", "content": "".join(outputs) + _NOW_WORDS}


def _json(value: Any, indent: int | None = None) -> str:
    if isinstance(value, _Tool) and indent is None:
        return value.marker
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(reason: str) -> NoReturn:
    raise TemplateError(reason)
