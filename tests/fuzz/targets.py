"""Every parser of the project that is fed by somebody else: clients, issuers, operators, models, files."""

from __future__ import annotations

from tests.fuzz import of_doors, of_recordings, of_sessions, of_settings, of_sockets, of_speech, of_wire
from tests.fuzz.target import Target

TARGETS: tuple[Target, ...] = (
    *of_wire.TARGETS,
    *of_doors.TARGETS,
    *of_sockets.TARGETS,
    *of_settings.TARGETS,
    *of_speech.TARGETS,
    *of_recordings.TARGETS,
    *of_sessions.TARGETS,
)
BY_NAME = {target.name: target for target in TARGETS}


def folder_name(target: Target) -> str:
    """The target's name as a folder is called."""
    return target.name.replace("'", "").replace(" ", "-")
