"""What the LLM is asked: the instructions, the conversation as far as it fits, the tools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from voiceedge.conversation.history import History, Line
from voiceedge.engines import Call, Message, Prompt, Sampling, Tool
from voiceedge.engines import ToolChoice as Choice
from voiceedge.errors import ContextFull, InvalidTool
from voiceedge.protocol.response_config import ResponseConfig
from voiceedge.protocol.session_object import FunctionTool, NamedTool, ToolChoice
from voiceedge.session.node import Node

CHARACTERS_A_TOKEN = 3.0
"""A careful guess of what text costs before it has been tokenised; English has about four."""
LONGEST_TOKENS = 16
"""Characters a token, of a whole prompt: prose has four, and none that was ever said has sixteen."""
TOKENS_A_MESSAGE = 8
"""Markup around a message in ChatML, rounded up."""


def prompt_of(
    instructions: str, tools: Sequence[FunctionTool], lines: Sequence[Line] = (), config: ResponseConfig | None = None
) -> Prompt:
    """What the LLM is shown. Instructions for one answer stand at the end, so that the cached prefix survives."""
    messages = [Message("system", instructions)] if instructions else []
    messages += [_message(line) for line in lines]
    if config is not None and config.instructions:
        messages.append(Message("system", config.instructions))
    return Prompt(
        tuple(messages),
        tools_of(tools),
        Choice() if config is None else _choice(config.tool_choice, parallel=config.parallel_tool_calls),
    )


def tools_of(tools: Sequence[FunctionTool]) -> tuple[Tool, ...]:
    """The client's functions as the LLM knows them."""
    return tuple(Tool(tool.name, tool.description, tool.parameters) for tool in tools)


async def check_tools(node: Node, tools: tuple[FunctionTool, ...], known: tuple[FunctionTool, ...], param: str) -> None:
    """Let the LLM look at tools before anything depends on them; at `known` ones it has looked.

    Raises:
        InvalidTool: answers cannot be held to one of the schemas.
    """
    if not tools or tools == known:
        return
    offered = tools_of(tools)
    check = node.engines.llm.check_tools
    try:
        for tool in offered:  # one a step: others wait for no more than one to be compiled
            await node.compute.run(partial(check, (tool,)), deadline=node.clock(), name="tools")
        await node.compute.run(partial(check, offered), deadline=node.clock(), name="tools")
    except InvalidTool as error:
        raise InvalidTool(str(error), param=f"{param}.{error.param or 'tools'}") from error


def require_plausible(prompt: Prompt, context_tokens: int) -> None:
    """Refuse a prompt that cannot fit before it is tokenised: a megabyte takes the time of a whole answer.

    Raises:
        ContextFull: it has more characters than any prompt of `context_tokens`.
    """
    characters = sum(
        len(message.text) + sum(len(call.name) + len(call.arguments) for call in message.calls)
        for message in prompt.messages
    ) + sum(len(tool.name) + len(tool.description) + len(str(tool.parameters)) for tool in prompt.tools)
    if characters > context_tokens * LONGEST_TOKENS:
        raise ContextFull(f"the prompt has {characters} characters; the context holds {context_tokens} tokens")


def sampling_of(node: Node, config: ResponseConfig) -> Sampling:
    """The node's sampling with what the client asked for."""
    asked = config.max_output_tokens or node.sampling.max_tokens
    temperature = node.sampling.temperature if config.temperature is None else config.temperature
    return replace(node.sampling, temperature=temperature, max_tokens=min(asked, node.sampling.max_tokens))


def forget_what_does_not_fit(history: History, opening: int, context_tokens: int, answer_tokens: int) -> int:
    """Drop the oldest turns when the chat no longer fits, down to half: not one turn at every turn.

    `opening` is what stands before the chat takes, see `cost_of_opening`.
    """
    room = context_tokens - answer_tokens - opening
    if sum(cost_of(line) for line in history.lines()) <= room:
        return 0
    return history.forget(room // 2, cost_of)


def forget_half(history: History) -> int:
    """Drop the oldest turns down to half of what is shown; returns how many items went."""
    return history.forget(sum(cost_of(line) for line in history.lines()) // 2, cost_of)


def cost_of(line: Line) -> int:
    """Tokens that a line takes in the prompt, estimated where they are not known."""
    if line.tokens:
        return TOKENS_A_MESSAGE + len(line.tokens)
    texts = [line.text, *(call.name + call.arguments for call in line.calls)]
    return TOKENS_A_MESSAGE * len(texts) + round(sum(map(len, texts)) / CHARACTERS_A_TOKEN)


def cost_of_opening(instructions: str, tools: Sequence[FunctionTool]) -> int:
    """Tokens that instructions and tools take, estimated."""
    shown = sum(len(f"{tool.name} {tool.description} {tool.parameters}") for tool in tools)
    return cost_of(Line("system", instructions)) + round(shown / CHARACTERS_A_TOKEN)


def _message(line: Line) -> Message:
    calls = tuple(Call(call.name, call.arguments) for call in line.calls)
    return Message(line.role, line.text, line.tokens, calls)


def _choice(asked: ToolChoice, *, parallel: bool) -> Choice:
    if isinstance(asked, NamedTool):
        return Choice("required", asked.name, parallel=False)
    return Choice(asked, parallel=parallel)
