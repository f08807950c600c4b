"""From msgspec's complaint to an error that names the field in the client's own message."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from voiceedge.errors import InvalidRequest

T = TypeVar("T")

MAX_DEPTH = 64
"""Schemas of real tools stay below 20."""

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


def require_shallow(value: Any, root: str) -> None:
    """Refuse JSON that decoded, but could exhaust the stack of whatever encodes it again from a deeper call.

    Raises:
        InvalidRequest: objects and lists are nested more than `MAX_DEPTH` deep.
    """
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise InvalidRequest(f"Invalid '{root}': nested more than {MAX_DEPTH} deep.", param=root)
