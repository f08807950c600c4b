"""The command line's `doctor`: what this machine can do, what is wrong with it, what to do about that."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from voiceedge import terminal
from voiceedge.cli_options import ConfigFile, Home, setting
from voiceedge.config import Config, load_config
from voiceedge.doctor.clock import clock_findings
from voiceedge.doctor.finding import Finding
from voiceedge.doctor.machine import load_finding, machine_findings
from voiceedge.doctor.models import Choice, Inventory, choices, disk_finding, take_inventory
from voiceedge.doctor.network import port_findings, region_findings
from voiceedge.doctor.tls import tls_findings
from voiceedge.machine import Machine, load_average, machine
from voiceedge.modelstore.manifest import Stage
from voiceedge.modelstore.store import LocalModel, ModelStore
from voiceedge.regions.nodes import read_nodes
from voiceedge.regions.places import here
from voiceedge.regions.probing import measure_now

if TYPE_CHECKING:  # `--help` must not wait for numpy
    from voiceedge.audio.pcm import PCM
    from voiceedge.doctor.report import Report
    from voiceedge.doctor.selftest import AnySpeed
    from voiceedge.engines.loading import ThreadPlan


def doctor(
    profile: Annotated[str | None, setting("profile", "Which profile the machine is meant for.")] = None,
    host: Annotated[str | None, setting("host", "Address that a node would listen on.")] = None,
    port: Annotated[int | None, setting("port", "TCP port that it would listen on.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Leave the self-test of the models out.")] = False,  # noqa: FBT002
    as_json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,  # noqa: FBT002
    config: ConfigFile = None,
    home: Home = None,
) -> None:
    """Look this machine over: processor, memory, clock, disk, models and their speed, port, TLS, other nodes.

    Says which profile fits and how many sessions to expect of it: an estimate, which `bench --ramp` measures.
    Exit code 0: no problems; 1: there are some.
    """
    from voiceedge.doctor.report import as_json, render  # noqa: PLC0415 - as above

    settings = load_config({"profile": profile, "host": host, "port": port, "home": home}, config)
    report = examine(settings, quick=quick)
    if as_json_:
        typer.echo(json.dumps(as_json(report), indent=1))
    else:
        terminal.out.print(render(report), soft_wrap=False)
    if report.problems:
        raise typer.Exit(1)


def examine(settings: Config, *, quick: bool) -> Report:
    """Look at everything.

    Raises:
        ConfigError: a setting or a manifest is wrong, so that it is not clear what to look at.
    """
    from voiceedge.doctor.report import Report  # noqa: PLC0415 - as above

    store = ModelStore(settings.home)
    chosen: dict[Stage, str | None] = {"stt": settings.stt_model, "llm": settings.llm_model, "tts": settings.tts_model}
    profiles = choices(store, settings.profile, {stage: name for stage, name in chosen.items() if name is not None})
    found, load = machine(), load_average()  # before anything is hashed
    with terminal.pull_progress() as progress:
        inventory = take_inventory(store, profiles, settings.profile, progress, offline=settings.offline)
    configured = next(choice for choice in profiles if choice.profile == settings.profile)
    findings = [*machine_findings(found), load_finding(found.cores, load), *clock_findings()]
    findings += [*inventory.findings, disk_finding(store, configured)]
    findings += _network(settings)
    if quick:
        return Report(found, findings, skipped=True)
    return _tried(found, findings, inventory, profiles, settings)


def _network(settings: Config) -> list[Finding]:
    from voiceedge.server.tls import tls_context  # noqa: PLC0415 - `--help` must not wait for it

    findings = port_findings(settings.host, settings.port, secure=settings.tls_certificate is not None)
    findings += tls_findings(settings.tls_certificate, lambda: tls_context(settings))
    origin = here(settings.region, settings.latitude, settings.longitude)
    if origin is not None:
        text = f"this machine stands in {origin.name} ({origin.latitude:.2f}, {origin.longitude:.2f})"
        findings.append(Finding("regions", "ok", text))
    if settings.regions_file is not None:
        findings += region_findings(measure_now(read_nodes(settings.regions_file), origin))
    return findings


def _tried(
    found: Machine, findings: list[Finding], inventory: Inventory, profiles: Iterable[Choice], settings: Config
) -> Report:
    """Let every sound model work for a while, and reckon with what it takes."""
    from voiceedge.doctor.forecast import forecast  # noqa: PLC0415 - as above
    from voiceedge.doctor.report import Report  # noqa: PLC0415 - as above
    from voiceedge.engines.loading import thread_plan  # noqa: PLC0415 - as above

    speeds = _speeds(list(inventory.sound.values()), thread_plan(found.whole_cores), findings)
    forecasts = [forecast(choice, speeds, found, settings.context_tokens) for choice in profiles]
    return Report(found, findings, list(speeds.values()), [each for each in forecasts if each is not None])


def _speeds(models: Sequence[LocalModel], threads: ThreadPlan, findings: list[Finding]) -> dict[str, AnySpeed]:
    """Try one model after the other; what does not run becomes a finding. Speeds by id."""
    from voiceedge.doctor.selftest import Watches, loader, seconds_for, spoken_phrase, try_speed  # noqa: PLC0415

    def tried(model: LocalModel, speech: PCM) -> AnySpeed:
        # nobody else keeps the engine: it is let go before the next one is loaded
        engine = loader(model.stage, threads)(model)
        return try_speed(model.stage, model.id, engine, speech, seconds_for(len(models)), Watches())

    speeds: dict[str, AnySpeed] = {}
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24))
    with Progress(*columns, console=terminal.err, transient=True) as progress:
        task = progress.add_task("speaking a question", total=len(models))
        speech = spoken_phrase() if models else None
        for model in models:
            assert speech is not None
            progress.update(task, description=f"trying {model.id}")
            try:
                speeds[model.id] = tried(model, speech)
            except Exception as error:  # noqa: BLE001 - whatever an engine raises for weights that it cannot run
                findings.append(_failed(model, error))
            progress.advance(task)
    return speeds


def _failed(model: LocalModel, error: Exception) -> Finding:
    advice = f"voiceedge models pull --repair {model.id}; if that does not help, report it."
    return Finding("self-test", "problem", f"{model.id} does not run: {type(error).__name__}: {error}", advice)
