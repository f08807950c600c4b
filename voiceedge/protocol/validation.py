"""From msgspec's complaint to an error that names the field in the client's own message."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from voiceedge.errors import InvalidRequest

T = TypeVar("T")

MAX_DEPTH = 64
"""Schemas of real tools stay below 20."""
MAX_VALUES = 20_000
"""In one session, item or response: a hundred tools of twenty parameters have some 10,000."""
MAX_KEY_CHARACTERS = 512
SMALLEST_INTEGER, LARGEST_INTEGER = -(2**63), 2**64 - 1
"""What the encoder can write: what is echoed must not break the writer."""

_COMPLAINT = re.compile(r"(?P<problem>.*?)(?: - at `\$(?P<path>[^`]*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]*)`")


def invalid(error: msgspec.ValidationError, root: str = "") -> InvalidRequest:
    """Say which field is wrong, as a path below `root` (`session.audio.input.format`).

    msgspec tells the place only in its text, hence the pattern; where the text should ever change, `param` is
    missing and the message is still right.
    """
    parts = _COMPLAINT.fullmatch(str(error))
    problem = parts["problem"] if parts else str(error)
    path = (root + (parts["path"] or "" if parts else "")).lstrip(".")
    missing = _MISSING.fullmatch(problem)
    if missing:
        param = f"{path}.{missing['name']}".lstrip(".")
        return InvalidRequest(f"Missing required parameter: '{param}'.", code="missing_required_parameter", param=param)
    where = f"Invalid '{path}': " if path else ""
    return InvalidRequest(f"{where}{problem}.", param=path or None)


def converted(value: Any, kind: type[T], root: str) -> T:
    """Check decoded JSON against a Struct.

    Raises:
        InvalidRequest: it does not fit; `param` is the path below `root`.
    """
    try:
        return msgspec.convert(value, type=kind)
    except msgspec.ValidationError as error:
        raise invalid(error, root) from error


def require_functions(tools: Any, root: str) -> None:
    """Refuse tools that the node would have to run itself, as those of an MCP server: nothing here ever calls them.

    Raises:
        InvalidRequest: one of `tools` is not of type "function".
    """
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind is not None and kind != "function":
            param = f"{root}.tools[{index}].type"
            raise InvalidRequest(
                f"Invalid '{param}': only tools of type 'function', which the client runs, are served.", param=param
            )


def require_bounded(value: Any, root: str) -> None:
    """Refuse JSON that decoded, but could exhaust whoever walks or encodes it again.

    Raises:
        InvalidRequest: objects and lists are nested more than `MAX_DEPTH` deep, there are more than `MAX_VALUES` of
            them and of values, a key is too long, or a number too large to be written again.
    """
    level, seen = [value], 0
    for _ in range(MAX_DEPTH):
        seen += len(level)
        if seen > MAX_VALUES:
            raise InvalidRequest(f"Invalid '{root}': more than {MAX_VALUES} values.", param=root)
        inner: list[Any] = []
        for outer in level:
            if isinstance(outer, dict):
                _require_short_keys(outer, root)
                inner.extend(outer.values())
            elif isinstance(outer, list):
                inner.extend(outer)
            elif isinstance(outer, int) and not SMALLEST_INTEGER <= outer <= LARGEST_INTEGER:
                raise InvalidRequest(f"Invalid '{root}': an integer of more than 64 bits.", param=root)
        level = inner
        if not level:
            return
    raise InvalidRequest(f"Invalid '{root}': nested more than {MAX_DEPTH} deep.", param=root)


def _require_short_keys(value: dict[str, Any], root: str) -> None:
    if any(len(key) > MAX_KEY_CHARACTERS for key in value):
        raise InvalidRequest(f"Invalid '{root}': a key of more than {MAX_KEY_CHARACTERS} characters.", param=root)
