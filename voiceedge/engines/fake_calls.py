"""What a model without weights does with tools: always the same, so that clients can be driven through a call."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import product
from typing import Any

from voiceedge.engines import Call, Prompt, Tool

_TEXTS = {
    "date-time": "2026-01-01T12:00:00Z",
    "time": "12:00:00Z",
    "date": "2026-01-01",
    "duration": "PT1M",
    "email": "a@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.com/",
}
"""By `format`."""
_TRIED = ("a", "A", "0", "1", "12:00", "2026-01-01", "a@example.com", "+491", "A1", "#000000")
"""Tried for a `pattern`, once and repeated; a pattern that none of them fits gets the first."""
_DEEPEST = 8


def act(prompt: Prompt) -> str | tuple[Call, ...] | None:
    """Calls or words for `prompt` by simple rules; None where it is about no tool.

    With "required" the first tool is called, or the one that is named. With "auto" what a function returned is
    said, and a tool is called when its name occurs in what the user said last.
    """
    choice, messages = prompt.tool_choice, prompt.messages
    if choice.mode == "required":
        offered = [tool for tool in prompt.tools if choice.name in {None, tool.name}]
        return tuple(smallest_call(tool) for tool in offered[:1]) or None
    if messages and messages[-1].role == "tool":
        return f"The result is {messages[-1].text}"
    if choice.mode == "none" or not messages or messages[-1].role != "user":
        return None
    spoken = _words(messages[-1].text)
    called = tuple(smallest_call(tool) for tool in prompt.tools if _occurs(_words(tool.name), spoken))
    return called[: None if choice.parallel else 1] or None


def smallest_call(tool: Tool) -> Call:
    """A call with as little in it as the tool's schema allows."""
    schema = {"type": "object", **tool.parameters}
    return Call(tool.name, json.dumps(smallest(schema, schema), ensure_ascii=False))


def smallest(schema: Any, root: dict[str, Any], depth: int = 0) -> Any:
    """A small value that fits `schema`, as far as the usual keywords go; `root` is what references point into."""
    schema = _resolved(schema, root)
    if depth > _DEEPEST or not schema:
        return None
    if "const" in schema or schema.get("enum"):
        return schema["const"] if "const" in schema else schema["enum"][0]
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        given = schema.get("properties", {})
        return {key: smallest(given.get(key, {}), root, depth + 1) for key in schema.get("required", ())}
    if kind == "array":
        return [smallest(schema.get("items", {}), root, depth + 1) for _ in range(schema.get("minItems", 0))]
    if kind in {"integer", "number"}:
        return _smallest_number(schema)
    return {"boolean": True, "null": None}.get(kind, _smallest_text(schema))


def _smallest_number(schema: dict[str, Any]) -> float:
    step: float = schema.get("multipleOf", 1)
    lowest = schema.get("minimum", schema.get("exclusiveMinimum"))
    if lowest is None:
        highest: float = schema.get("maximum", schema.get("exclusiveMaximum", 0))
        return min(0, (highest - step) // step * step)
    value: float = -(-lowest // step) * step
    return value + step if value == schema.get("exclusiveMinimum") else value


def _smallest_text(schema: dict[str, Any]) -> str:
    if "pattern" in schema:
        tried = (text * times for times, text in product((1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16), _TRIED))
        return next((text for text in tried if re.search(schema["pattern"], text)), _TRIED[0])
    text = _TEXTS.get(schema.get("format", ""), "a")
    return text.ljust(schema.get("minLength", 0), "a")[: schema.get("maxLength")]


def _resolved(schema: Any, root: dict[str, Any]) -> dict[str, Any]:
    """`schema` with its reference followed, the first of its alternatives taken and its parts joined."""
    joined = dict(schema) if isinstance(schema, dict) else {}
    parts = [joined.pop(key)[0] for key in ("anyOf", "oneOf") if joined.get(key)] + joined.pop("allOf", [])
    if "$ref" in joined:
        found: Any = root
        for name in filter(None, joined.pop("$ref").removeprefix("#").split("/")):
            found = found.get(name, {})
        parts.append(found)
    for part in parts:
        resolved = _resolved(part, root)
        properties = {**joined.get("properties", {}), **resolved.get("properties", {})}
        required = [*joined.get("required", ()), *resolved.get("required", ())]
        joined = {**joined, **resolved}
        if properties or required:
            joined |= {"properties": properties, "required": required}
    return joined


def _words(text: str) -> list[str]:
    """Words of a sentence, or of a name in snake_case, kebab-case or camelCase."""
    return re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text).casefold())


def _occurs(name: Sequence[str], spoken: Sequence[str]) -> bool:
    return bool(name) and set(name) <= set(spoken)
