"""The real models, for tests marked `models`: pulled on first use, loaded once a process."""

from __future__ import annotations

from functools import cache

from voiceedge.config import Config
from voiceedge.engines import Engines, Stage
from voiceedge.engines.loading import load_engines, thread_plan
from voiceedge.modelstore.store import LocalModel, ModelStore

SLOTS = 4
CONTEXT_TOKENS = 1024


@cache
def local_models(profile: str) -> dict[Stage, LocalModel]:
    """The models of a profile by stage; fails with what is missing and why."""
    return dict(ModelStore(Config().home).resolve(profile))


@cache
def local_model(model_id: str) -> LocalModel:
    """One model."""
    return ModelStore(Config().home).pull(model_id)


@cache
def engines(profile: str) -> Engines:
    """The engines of a profile."""
    return load_engines(local_models(profile), slots=SLOTS, context_tokens=CONTEXT_TOKENS, threads=thread_plan(2))
