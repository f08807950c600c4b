"""Options that several commands have, and how an option shows the setting that it stands for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from voiceedge.config import Config

_UNSHOWN = {"home": "the user's cache", "instructions": "a friendly voice assistant"}


def setting(name: str, text: str, panel: str | None = None) -> Any:
    """An option that stands for a setting; its default is the setting's, so that help cannot drift.

    Args:
        name: the setting.
        text: what it is, in a few words: docs/settings.md says it all.
        panel: under which heading of the help it stands.
    """
    default = getattr(Config(), name)
    plain = str(default).lower() if default is None or isinstance(default, bool) else str(default)
    shown = _UNSHOWN.get(name, plain) or "none"
    return typer.Option(help=f"{text} \\[default: {shown}]", show_default=False, rich_help_panel=panel)


ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file with settings. \\[default: none]")]
Home = Annotated[Path | None, setting("home", "Folder of models and builds.")]
Offline = Annotated[
    bool | None, typer.Option("--offline", help="Never fetch anything. \\[default: false]", show_default=False)
]
