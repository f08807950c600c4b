"""Engines that are loaded anew when they fail, while sessions go on.

Every engine stands behind one that only passes on (`engines/standing_in`). What has hung, or has failed three times in
a row, is taken out of service, and a thread loads another one in its place; the stages beside it are not touched.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from voiceedge.engines import STAGES, Engines, Stage
from voiceedge.engines.standing_in import Place, standing_in
from voiceedge.trace import Clock, now

log = logging.getLogger(__name__)

LoadStage = Callable[[Stage], Mapping[str, Any]]
"""Loads what a stage consists of, by its name in `Engines`: one engine, or with `llm` also `sentence_end`, which is a
view of it. Blocks for seconds; raises what loading raises."""
FAILURES = 3
"""Failures in a row, of whatever session, after which an engine is loaded anew: one may be its input's fault."""
MOST_LOADS = 5
"""Loads in a row that may fail; then the stage is lost. Those that found no file to be opened do not count: connections
have taken all of them, and give them back."""
BACK_OFF_S = 1.0
"""Wait before another load, doubled each time. The first one after an engine has stood for `PROVEN_S` and works begins
at once, as does that of one that hangs: the others wait for it."""
LONGEST_BACK_OFF_S = 60.0
PROVEN_S = 60.0
"""An engine that still works after so long was worth its load. If one good step were enough, what fails again and again
would be loaded again and again without a pause, which costs everybody seconds each time."""
FILES_OF_A_LOAD = 16
"""That may be open at once while a stage is loaded."""
LONGEST_LOAD_S = 120.0
"""A node starts in 3 to 8 s. A load that has taken so long will not come to an end either."""


@runtime_checkable
class Sheds(Protocol):
    """An engine that keeps more than it needs."""

    def shed(self) -> None:
        """Drop what is only kept to be quicker. Any thread, at any time; takes no lock for long."""
        ...


def fields_of(stage: Stage) -> tuple[str, ...]:
    """What a stage consists of, by its name in `Engines`."""
    return ("llm", "sentence_end") if stage == "llm" else (stage,)


def parts_of(engines: Engines, stage: Stage) -> dict[str, Any]:
    """What a stage of `engines` consists of, as `LoadStage` gives it."""
    return {name: getattr(engines, name) for name in fields_of(stage)}


@dataclass(slots=True)
class _Standing:
    """How a stage is."""

    failures: int = 0
    """In a row."""
    since: float = 0.0
    """When its engine was put there: what began before is another one's fault."""
    loads: int = 0
    """Begun since an engine last worked for long, whatever came of them."""
    failed_loads: int = 0
    """In a row, and not for want of files."""
    loading_since: float | None = None


class Renewal:
    """Knows how the engines of a node are, and puts others in their place. May be called from any thread."""

    def __init__(self, engines: Engines, load: LoadStage, *, clock: Clock = now) -> None:
        self._load = load
        self._clock = clock
        self._places: dict[str, Place[Any]] = {
            name: Place(stage, engine) for stage in STAGES for name, engine in parts_of(engines, stage).items()
        }
        self.engines = standing_in(self._places, engines.names, self.failed, self.worked)
        """What sessions use."""
        self.out: frozenset[Stage] = frozenset()
        """Stages that are out of service; read without a lock."""
        self.rebuilds: dict[Stage, int] = dict.fromkeys(STAGES, 0)
        """Engines that were put in another one's place."""
        self.on_change: Callable[[], None] = _nothing
        """Called when a stage is back; from the thread that loaded it."""
        self._standing = {stage: _Standing() for stage in STAGES}
        self._lost: Stage | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def worked(self, stage: Stage) -> None:
        """A step of a stage gave what it should. Costs 0.1 us."""
        standing = self._standing[stage]
        if (standing.failures or standing.loads) and stage not in self.out:
            standing.failures = 0
            if self._clock() - standing.since >= PROVEN_S:
                standing.loads = 0

    def failed(self, stage: Stage, begun: float) -> None:
        """A step of a stage that began then has raised what is not the caller's fault."""
        with self._lock:
            standing = self._standing[stage]
            if stage in self.out or begun < standing.since:
                return
            standing.failures += 1
            is_sick = standing.failures >= FAILURES
            engines = [self._places[name].engine for name in fields_of(stage)]
        # it may be memory that is short, which onnxruntime has no error of its own for
        for engine in engines:
            if isinstance(engine, Sheds):
                engine.shed()
        if is_sick:
            log.error("%s has failed %d times in a row: it is loaded anew.", stage, FAILURES)
            self._take_out(stage, at_once=False)

    def hung(self, stage: Stage, begun: float) -> None:
        """A step of a stage that began then has not come back."""
        if begun >= self._standing[stage].since:
            log.error("%s hangs: it is loaded anew.", stage)
            # the step has waited for its time limit, and only so many may hang: a pause on top of that would let one
            # session that makes an engine hang silence all the others
            self._take_out(stage, at_once=True)

    def lost(self, at: float) -> Stage | None:
        """A stage that cannot be brought back; None while all of them work or may yet do so."""
        with self._lock:
            for stage, standing in self._standing.items():
                if standing.loading_since is not None and at - standing.loading_since > LONGEST_LOAD_S:
                    self._lost = stage
            return self._lost

    def close(self) -> None:
        """Begin no load any more."""
        self._closed.set()

    def _take_out(self, stage: Stage, *, at_once: bool) -> None:
        """Let nobody begin anything with a stage until it has another engine: loaded `at_once`, or after a pause."""
        with self._lock:
            if stage in self.out:
                return
            self.out |= {stage}
            if at_once:
                self._standing[stage].loads = 0
            for name in fields_of(stage):
                self._places[name].clear()
        try:
            threading.Thread(target=self._renew, args=[stage], name=f"load {stage}", daemon=True).start()
        except RuntimeError:  # there may be no more threads: nothing can bring it back but another process
            log.exception("%s cannot be loaded anew.", stage)
            with self._lock:
                self._lost = stage

    def _renew(self, stage: Stage) -> None:
        """Load until it succeeds, the stage is lost, or the node stops."""
        standing = self._standing[stage]
        while standing.failed_loads < MOST_LOADS:
            if self._closed.wait(_back_off_s(standing.loads)):
                return
            standing.loads += 1
            standing.loading_since = begun = self._clock()
            try:
                fresh = self._load(stage)
            except BaseException as error:  # a panic in Rust is no Exception
                standing.failed_loads += not _is_short_of_files(error)
                log.exception("%s could not be loaded (%d of %d).", stage, standing.failed_loads, MOST_LOADS)
            else:
                self._put(stage, fresh)
                log.warning("%s is back after %.1f s.", stage, self._clock() - begun)
                return
            finally:
                standing.loading_since = None
        with self._lock:
            self._lost = stage

    def _put(self, stage: Stage, fresh: Mapping[str, Any]) -> None:
        with self._lock:
            for name, engine in fresh.items():
                self._places[name].engine = engine
            standing = self._standing[stage]
            standing.since, standing.failures, standing.failed_loads = self._clock(), 0, 0
            self.rebuilds[stage] += 1
            self.out -= {stage}
        self.on_change()


def _back_off_s(loads: int) -> float:
    """Seconds to wait before another load, after so many."""
    if loads == 0:
        return 0.0
    doublings = min(loads - 1, 20)  # 2.0**1024 is an error
    return min(BACK_OFF_S * 2.0**doublings, LONGEST_BACK_OFF_S)


def _is_short_of_files(error: BaseException) -> bool:
    """Whether a load has failed because no more files could be opened, by the process or the machine."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in {errno.EMFILE, errno.ENFILE}:
            return True
        cause = cause.__cause__
    # onnxruntime and ctranslate2 keep it to themselves
    opened: list[int] = []
    try:
        while len(opened) < FILES_OF_A_LOAD:
            opened.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return True
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return False


def _nothing() -> None:
    """Nobody wants to know."""
