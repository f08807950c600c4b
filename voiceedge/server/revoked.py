"""Tokens that are not good any more although their time is not over: a file with one `jti` or subject a line."""

from __future__ import annotations

import logging
from pathlib import Path

from voiceedge.errors import ConfigError
from voiceedge.server.grant import Grant

log = logging.getLogger(__name__)


class Revoked:
    """The lines of one file, read again when it has changed. Empty ones, and those behind a `#`, say nothing."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            ConfigError: it cannot be read.
        """
        self._path = path
        self._names: frozenset[str] = frozenset()
        self._version: tuple[int, int] | None = None
        self._read()

    def refresh(self) -> None:
        """Read the file again if it has changed; who was revoked stays so while it cannot be read."""
        try:
            self._read()
        except ConfigError as error:
            log.warning("Who is revoked stays as it was. %s", error)

    def names(self, grant: Grant) -> bool:
        """Whether a grant is not good any more."""
        return grant.subject in self._names or grant.token_id in self._names

    def _read(self) -> None:
        try:
            stat = self._path.stat()
            version = (stat.st_mtime_ns, stat.st_size)
            if version != self._version:
                lines = (line.partition("#")[0].strip() for line in self._path.read_text("utf-8").splitlines())
                self._names, self._version = frozenset(filter(None, lines)), version
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"The revoked tokens in {self._path} cannot be read: {error}.") from error
