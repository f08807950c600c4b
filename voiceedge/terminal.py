"""What a person sees in the terminal: progress, the start-up lines, tables."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Table

from voiceedge.budget import Budget
from voiceedge.config import Config
from voiceedge.modelstore.fetch import Step
from voiceedge.modelstore.store import ModelStore

if TYPE_CHECKING:  # `--help` must not wait for numpy
    from voiceedge.session.node import Node
    from voiceedge.session.warming import Speeds

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)
log = logging.getLogger(__name__)


class PullProgress:
    """Shows what the model store does: a bar for each model that is being worked on."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, step: Step) -> None:
        """Move a model's bar."""
        if step.model not in self._tasks:
            self._tasks[step.model] = self._progress.add_task("", amount="")
        self._progress.update(
            self._tasks[step.model],
            description=escape(f"{step.model}: {step.what}"),
            completed=step.done,
            total=step.total or 1,
            amount=_amount(step),
        )


def _amount(step: Step) -> str:
    """How much is done, empty where the end cannot be known."""
    if not step.total:
        return ""
    if step.unit == "percent":
        return f"{step.done} %"
    return f"{step.done / 1e6:.1f} of {step.total / 1e6:.1f} MB"


@contextmanager
def pull_progress() -> Iterator[PullProgress]:
    """Progress bars that are gone when the work is done."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[amount]}"),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        yield PullProgress(progress)


def models_table(store: ModelStore) -> Table:
    """Every model that the store knows, and whether it is here."""
    table = Table("model", "stage", "here", "size", "memory", "licence", "profiles", box=None, pad_edge=False)
    for manifest in store.catalogue.models.values():
        profiles = [p.id for p in store.catalogue.profiles.values() if manifest.id in p.models.values()]
        here = store.state(manifest.id) == "present"
        own = " (yours)" if store.is_own(manifest.id) else ""
        table.add_row(
            f"{manifest.id}{own}",
            manifest.stage if manifest.voice_of is None else f"voice of {manifest.voice_of}",
            "[green]yes[/]" if here else "[yellow]no[/]",
            f"{manifest.bytes / 1e6:.0f} MB",
            f"{manifest.memory_mb} MB",
            escape(manifest.licence),
            ", ".join(profiles),
        )
    return table


def announce(
    node: Node, config: Config, speeds: Speeds, port: int, loaded_s: float, budget: Budget, *, is_open: bool
) -> None:
    """The start-up lines: what is loaded, how fast this machine is, where the page is, what to try first.

    Whoever collects JSON lines gets one of those instead.
    """
    if config.log_format == "json":
        log.info("VoiceEdge is ready after %.1f s (profile %s, port %d)", loaded_s, config.profile, port)
        if (records := _what_is_recorded(config)) is not None:
            log.info("VoiceEdge records %s", records)
        return
    names = node.engines.names
    host = "localhost" if config.host in {"127.0.0.1", "::1", "0.0.0.0"} else config.host  # noqa: S104 - shown only
    secure = "" if config.tls_certificate is None else "s"
    out.print(f"[bold]VoiceEdge[/] is ready after {loaded_s:.1f} s (profile {config.profile})")
    out.print(f"  models  {' · '.join(dict.fromkeys(names.values()))}")
    out.print(
        f"  speed   hears {speeds.phrase_s:.1f} s of speech in {speeds.stt_ms:.0f} ms · thinks "
        f"{1000 / max(speeds.llm_ms_a_token, 1e-3):.0f} tokens/s · speaks it in {speeds.tts_ms:.0f} ms · "
        f"judges a pause in {speeds.end_of_turn_ms:.0f} ms"
    )
    out.print(f"  page    http{secure}://{host}:{port}/")
    limits = ", ".join(map(str, budget.limits))
    out.print(f"  trace   http{secure}://{host}:{port}/trace  (budget: {limits or 'none is set'})")
    if (records := _what_is_recorded(config)) is not None:
        out.print(f"  [bold]records {escape(records)}[/]")
    key = "any key" if is_open else "with a key, docs/access.md"
    out.print(f"  socket  ws{secure}://{host}:{port}/v1/realtime  (any OpenAI Realtime client; {key})")
    out.print(f'  try     voiceedge bench ws{secure}://{host}:{port} --say "What is the capital of France?"')


def say_goodbye(config: Config) -> None:
    """The last line."""
    if config.log_format == "json":
        log.info("VoiceEdge has stopped.")
    else:
        out.print("VoiceEdge has stopped.")


def _what_is_recorded(config: Config) -> str | None:
    """Whom the node records, where and for how long; None where it records nobody."""
    if config.record is None:
        return None
    whom = "sessions that agree to it" if config.record_consent == "client" else "every session that does not refuse"
    return f"{whom} in {config.record}, for {config.record_days} days and up to {config.record_mb} MB (docs/privacy.md)"
