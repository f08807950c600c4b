"""Where weights come from: manifests, downloads that are verified, graphs that are built, one folder."""

from voiceedge.modelstore.fetch import Progress, Step, silent
from voiceedge.modelstore.manifest import (
    STAGES,
    Catalogue,
    Manifest,
    Profile,
    Stage,
    read_catalogue,
    shipped_folder,
)
from voiceedge.modelstore.store import LocalModel, ModelStore, Problem, State

__all__ = [
    "STAGES",
    "Catalogue",
    "LocalModel",
    "Manifest",
    "ModelStore",
    "Problem",
    "Profile",
    "Progress",
    "Stage",
    "State",
    "Step",
    "read_catalogue",
    "shipped_folder",
    "silent",
]
