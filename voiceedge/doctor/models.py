"""Which models are on this machine, whether they are what their manifests say, and whether there is room for more."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from voiceedge.doctor.finding import Finding, Level
from voiceedge.modelstore.fetch import Progress, megabytes, silent
from voiceedge.modelstore.manifest import Manifest, Stage
from voiceedge.modelstore.store import LocalModel, ModelStore

BUILD_SHARE = 2
"""What is built of a model takes about as much again as its files."""
SPARE_BYTES = 500_000_000
"""Traces, recordings and an update have to fit as well."""
GIGABYTE = 1e9


@dataclass(frozen=True, slots=True)
class Choice:
    """A profile, with the models that settings put into the place of its own."""

    profile: str
    models: Mapping[Stage, Manifest]

    @property
    def memory_bytes(self) -> int:
        """What its models take when they are loaded."""
        return sum(manifest.memory_mb for manifest in self.models.values()) * 1_000_000


def choices(store: ModelStore, configured: str, instead: Mapping[Stage, str]) -> tuple[Choice, ...]:
    """All profiles, the configured one as it is configured.

    Raises:
        ConfigError: the profile or one of the models is unknown.
    """
    store.catalogue.profile(configured)
    own = {stage: store.catalogue.model(model_id) for stage, model_id in instead.items()}
    return tuple(
        Choice(name, {**store.catalogue.stages(name), **(own if name == configured else {})})
        for name in store.catalogue.profiles
    )


@dataclass(frozen=True, slots=True)
class Inventory:
    """What is here, and what is to be said about it."""

    findings: tuple[Finding, ...]
    sound: Mapping[str, LocalModel]
    """By id: here, and what the manifest says."""


def take_inventory(
    store: ModelStore,
    profiles: tuple[Choice, ...],
    configured: str,
    progress: Progress = silent,
    *,
    offline: bool = False,
) -> Inventory:
    """Hash every model that a profile uses.

    Args:
        store: the store.
        profiles: all of them.
        configured: the one that this machine is set to; what is missing of others does not matter.
        progress: told how far it is.
        offline: nothing may be fetched, so that a missing model ends the start.
    """
    findings: list[Finding] = []
    sound: dict[str, LocalModel] = {}
    corrupted: set[str] = set()
    for model_id in dict.fromkeys(manifest.id for choice in profiles for manifest in choice.models.values()):
        if store.state(model_id) == "missing":
            continue
        for problem in store.verify(model_id, progress):
            corrupted.add(model_id)
            text = f"{model_id}: {problem.path.name} is not what it should be ({problem.found})"
            findings.append(Finding("models", "problem", text, problem.repair))
        if model_id not in corrupted:
            sound[model_id] = store.path(model_id)
    absence: Level = "problem" if offline else "warning"
    for choice in profiles:
        ids = [manifest.id for manifest in choice.models.values()]
        absent = [model_id for model_id in ids if model_id not in sound and model_id not in corrupted]
        name = f"profile {choice.profile}"
        if absent:
            level = absence if choice.profile == configured else "ok"
            own = [manifest.id for manifest in store.catalogue.stages(choice.profile).values()]
            others = [model_id for model_id in absent if model_id not in own]
            advice = f"voiceedge models pull {' '.join([choice.profile, *others])}"
            findings.append(Finding("models", level, f"{name}: not here: {', '.join(absent)}", advice))
        elif not corrupted & set(ids):
            findings.append(Finding("models", "ok", f"{name}: {len(ids)} models are here, each file's sha256 is right"))
    return Inventory(tuple(findings), sound)


def disk_finding(store: ModelStore, choice: Choice) -> Finding:
    """Whether there is room for what a profile still needs."""
    free = shutil.disk_usage(_existing(store.root)).free
    missing = [manifest for manifest in choice.models.values() if store.state(manifest.id) == "missing"]
    needed = BUILD_SHARE * sum(manifest.bytes for manifest in missing)
    text = f"{free / GIGABYTE:.1f} GB of disk free at {store.root}"
    if free < needed:
        advice = f"The models of {choice.profile} need {megabytes(needed)}: make room, or set home."
        return Finding("models", "problem", text, advice)
    if free < needed + SPARE_BYTES:
        return Finding("models", "warning", text, "Make room: traces and updates need some as well.")
    return Finding("models", "ok", text)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(each for each in (folder, *folder.absolute().parents) if each.exists())
