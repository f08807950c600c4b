"""What a node says of itself at `GET /v1/node`: enough to judge its figures by, and nothing that is secret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from voiceedge import __version__
from voiceedge.config import Config
from voiceedge.engines import STAGES, Stage
from voiceedge.engines.loading import ThreadPlan
from voiceedge.regions.places import here
from voiceedge.server.admission import Admission

FAKE = "fake"


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What makes a figure of one model comparable with another one."""

    stage: Stage
    name: str
    """As the manifest calls it."""
    sha256: str
    """Of its weights, as they were fetched."""
    quantisation: str
    """Of the weights where they run."""
    bytes: int
    """Size of the file that the sha256 is of."""


FAKE_MODELS = tuple(ModelFacts(stage, FAKE, FAKE, FAKE, 0) for stage in STAGES)
"""Of engines without models."""


class About:
    """Answers the same to everybody, but for the number of sessions."""

    def __init__(
        self,
        config: Config,
        admission: Admission,
        models: Sequence[ModelFacts],
        machine: Mapping[str, Any],
        threads: ThreadPlan,
    ) -> None:
        """Put together what does not change.

        Args:
            config: the node's settings; only what is named here is told.
            admission: knows the sessions.
            models: one a stage.
            machine: `cpu`, `cores`, `memory_bytes` and `flags`.
            threads: how the cores are divided.

        Raises:
            ConfigError: the settings name a region that is unknown.
        """
        place = here(config.region, config.latitude, config.longitude)
        self._admission = admission
        self._facts = {
            "version": __version__,
            "region": None if place is None else asdict(place),
            "profile": config.profile,
            "models": [asdict(model) for model in models],
            "machine": dict(machine),
            "threads": asdict(threads),
        }
        if config.record is not None:
            self._facts["records"] = config.record_consent

    def told(self) -> dict[str, Any]:
        """The facts and how many sessions there are."""
        return {**self._facts, "max_sessions": self._admission.max_sessions, "sessions": self._admission.sessions}

    async def endpoint(self, _: Request) -> Response:
        """Answer `GET /v1/node`."""
        return JSONResponse(self.told())
