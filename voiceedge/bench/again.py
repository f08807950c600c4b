"""The command to run a bench again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

HIDDEN = "KEY"
"""Stands where a secret stood: reports are shown around."""

_KEY_OPTION = "--api-key"


def command_again(arguments: Sequence[str]) -> str:
    """The shell command out of what followed `voiceedge`, with the key taken out."""
    shown: list[str] = []
    for argument in arguments:
        if shown and shown[-1] == _KEY_OPTION:
            shown.append(HIDDEN)
        elif argument.startswith(f"{_KEY_OPTION}="):
            shown.append(f"{_KEY_OPTION}={HIDDEN}")
        else:
            shown.append(argument)
    return shlex.join(["voiceedge", *shown])
