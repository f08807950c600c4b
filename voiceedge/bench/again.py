"""The command to run a bench again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from voiceedge.bench.address import shown_url

HIDDEN = "KEY"
"""Stands where a secret stood: reports are shown around."""

_KEY_OPTION = "--api-key"


def command_again(arguments: Sequence[str], url: str) -> str:
    """The shell command out of what followed `voiceedge`, without what is secret: the key, and parts of the `url`."""
    shown: list[str] = []
    for argument in arguments:
        if shown and shown[-1] == _KEY_OPTION:
            shown.append(HIDDEN)
        elif argument.startswith(f"{_KEY_OPTION}="):
            shown.append(f"{_KEY_OPTION}={HIDDEN}")
        else:
            shown.append(shown_url(url) if argument == url else argument)
    return shlex.join(["voiceedge", *shown])
