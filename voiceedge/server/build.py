"""What a node is made of: its metrics and its spans say it beside everything else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Build:
    """The same for as long as the node runs."""

    version: str
    profile: str
    models: Mapping[str, str] = field(default_factory=dict)
    """Names by stage."""
    model_bytes: Mapping[str, int] = field(default_factory=dict)
    """Size of the files that each stage is loaded from; missing for what has none."""
