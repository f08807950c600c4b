"""Whether a file can be written, found out before anybody speaks: a wrong path must not cost what was measured."""

from __future__ import annotations

from pathlib import Path

from voiceedge.errors import ConfigError


def check_writable(path: Path) -> None:
    """Open a file without changing it; one that was not there is not there afterwards.

    Raises:
        ConfigError: it cannot be written.
    """
    if path.is_fifo():  # its reader would take the first end for the last
        return
    is_new = not path.exists()
    try:
        with path.open("ab"):
            pass
        if is_new:
            path.unlink()
    except OSError as error:
        raise not_written(path, error) from error


def write_text(path: Path, text: str) -> None:
    """Write a whole file.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise not_written(path, error) from error


def not_written(path: Path, error: OSError) -> ConfigError:
    """What is said where a file cannot be written."""
    return ConfigError(f"{path} cannot be written: {error.strerror or error}")
