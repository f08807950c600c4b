"""Tokens that are not good any more although their time is not over: a file with one `jti` or subject a line."""

from __future__ import annotations

import re
from pathlib import Path

from voiceedge.server.grant import Grant
from voiceedge.server.watched_file import WatchedFile

_COMMENT = re.compile(r"(^|\s)#.*")
"""Names may hold a `#`, as did:example:1#key-2."""


class Revoked:
    """The lines of one file. Empty ones say nothing, nor does what stands behind a `#`.

    A `#` counts at a line's beginning and behind white space.
    """

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            ConfigError: it cannot be read.
        """
        self._file = WatchedFile(path, _read_names, "file of revoked tokens")

    def refresh(self) -> None:
        """Read the file again if it has changed."""
        self._file.refresh()

    def names(self, grant: Grant) -> bool:
        """Whether a grant is not good any more."""
        return grant.subject in self._file.content or grant.token_id in self._file.content


def _read_names(text: str) -> frozenset[str]:
    return frozenset(filter(None, (_COMMENT.sub("", line).strip() for line in text.splitlines())))
