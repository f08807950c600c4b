"""Tokens that are not good any more although their time is not over: a file with one `jti` or subject a line."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from voiceedge.errors import ConfigError
from voiceedge.server.grant import Grant

log = logging.getLogger(__name__)

_COMMENT = re.compile(r"(^|\s)#.*")
"""Names may hold a `#`, as did:example:1#key-2."""


class Revoked:
    """The lines of one file, read again when it has changed. Empty ones say nothing, nor does what stands behind a `#`.

    A `#` counts at a line's beginning and behind white space.
    """

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            ConfigError: it cannot be read.
        """
        self._path = path
        self._names: frozenset[str] = frozenset()
        self._version: tuple[int, int] | None = None
        self._complaint: str | None = None
        self._read()

    def refresh(self) -> None:
        """Read the file again if it has changed; while it cannot be, which is said once, who was revoked stays so."""
        complaint = None
        try:
            self._read()
        except ConfigError as error:
            complaint = str(error)
            if complaint != self._complaint:
                log.warning("Who is revoked stays as it was. %s", complaint)
        self._complaint = complaint

    def names(self, grant: Grant) -> bool:
        """Whether a grant is not good any more."""
        return grant.subject in self._names or grant.token_id in self._names

    def _read(self) -> None:
        try:
            stat = self._path.stat()
            version = (stat.st_mtime_ns, stat.st_size)
            if version == self._version:
                return
            text = self._path.read_bytes()
            self._version = version  # whatever is in it: the same text is not read twice
            lines = (_COMMENT.sub("", line).strip() for line in text.decode().splitlines())
            self._names = frozenset(filter(None, lines))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"The revoked tokens in {self._path} cannot be read: {error}.") from error
