"""The command line's `bench`: talk to a node as people would, and say how long it lets them wait."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import tomllib
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
from rich.text import Text

from voiceedge import terminal
from voiceedge.budget import Budget, budget_from, parse_budget
from voiceedge.errors import ConfigError

if TYPE_CHECKING:  # `--help` must not wait for numpy
    from voiceedge.bench.live import LiveView
    from voiceedge.bench.options import BenchOptions
    from voiceedge.bench.report import BenchReport
    from voiceedge.bench.tape import Tapes

DEFAULT_SLO = "p95<800ms"
"""What a ramp looks for if nobody says: answers that come later are felt as a pause."""
SLO_MISSED, NODE_LOST, INTERRUPTED = 1, 3, 130
"""Exit codes beside those of every command: 0 for a run that kept its limits, 2 for one that cannot be asked for, 4 for
one that the bench itself was too busy for (`bench.selfcheck.RunVoid`)."""
SECONDS_A_MINUTE = 60.0

EXAMPLES = """One conversation of 24 questions: voiceedge bench

In a test, exit code 1 if missed: voiceedge bench --slo "p95<800ms,p50<500ms"

How many conversations a node can hold: voiceedge bench wss://HOST --ramp

Whether it gets slower: voiceedge bench --soak 60 --sessions 3

Callers who come when they like: voiceedge bench --arrivals 12 --think 1..4

Exit codes: 0 limits kept, 1 one missed, 2 usage, 3 node unreachable, 4 bench too busy"""

_SAID, _LOAD, _JUDGED, _OUTPUT = "What is said", "How many and how long", "Judging", "Output"


def bench(
    url: Annotated[str, typer.Argument(help="ws://host:port, http://host:port or host:port.")] = "localhost:8080",
    model: Annotated[str, typer.Option(help="Model name in the URL.")] = "voiceedge",
    api_key: Annotated[str | None, typer.Option(help="Key, if the node wants one.")] = None,
    instructions: Annotated[str | None, typer.Option(help="System prompt. \\[default: the node's own]")] = None,
    turn_detection: Annotated[
        str, typer.Option(help="semantic_vad[:EAGERNESS] or server_vad[:SILENCE_MS].")
    ] = "semantic_vad",
    audio: Annotated[
        list[Path] | None,
        typer.Option(
            rich_help_panel=_SAID,
            help="Recording, folder of them, or .tsv list to play. Repeatable. \\[default: 24 questions, spoken]",
        ),
    ] = None,
    say: Annotated[
        list[str] | None,
        typer.Option(rich_help_panel=_SAID, help="Text to speak with the default voice. Repeatable."),
    ] = None,
    hesitate: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_SAID, help="Put a pause of so many seconds (0.3..1.2) into the middle of each recording."
        ),
    ] = None,
    barge_in: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_SAID, help="Interrupt each answer with the next recording once so many seconds were heard."
        ),
    ] = None,
    think: Annotated[
        str,
        typer.Option(
            rich_help_panel=_SAID, help="Seconds between an answer and the next recording: 1, or 1..4 at random."
        ),
    ] = "1",
    listen: Annotated[
        Literal["full", "first-audible"],
        typer.Option(
            rich_help_panel=_SAID, help="full hears answers out; first-audible stops them at their first sound."
        ),
    ] = "full",
    seed: Annotated[
        int, typer.Option(rich_help_panel=_SAID, help="The same seed gives the same orders, pauses and arrivals.")
    ] = 0,
    via_rtt: Annotated[
        float | None,
        typer.Option(
            metavar="MS",
            rich_help_panel=_SAID,
            help="Put a round trip of so many milliseconds into the way.",
        ),
    ] = None,
    sessions: Annotated[
        int, typer.Option(rich_help_panel=_LOAD, help="Conversations at once, each in its own order.")
    ] = 1,
    turns: Annotated[
        int | None,
        typer.Option(
            rich_help_panel=_LOAD,
            help="Recordings a conversation plays. \\[default: each once; --arrivals: 3; --ramp: 8 or more]",
            show_default=False,
        ),
    ] = None,
    runs: Annotated[int, typer.Option(rich_help_panel=_LOAD, help="How often everything is done.")] = 1,
    fresh: Annotated[
        bool, typer.Option("--fresh/--one-session", rich_help_panel=_LOAD, help="A new session for each recording.")
    ] = False,
    ramp: Annotated[
        bool,
        typer.Option(
            "--ramp", rich_help_panel=_LOAD, help="Find the most conversations at once that keep --slo and --budget."
        ),
    ] = False,
    soak: Annotated[
        float | None, typer.Option(metavar="MINUTES", rich_help_panel=_LOAD, help="Go on with runs for so long.")
    ] = None,
    arrivals: Annotated[
        float | None,
        typer.Option(
            metavar="PER_MINUTE",
            rich_help_panel=_LOAD,
            help="Conversations begin at random moments, whatever the node does (an open model).",
        ),
    ] = None,
    at_most: Annotated[
        int, typer.Option(rich_help_panel=_LOAD, help="Conversations at once, with --ramp and with --arrivals.")
    ] = 64,
    slo: Annotated[
        list[str] | None,
        typer.Option(
            rich_help_panel=_JUDGED,
            help='Limits, such as "p95<800ms,wait.p95<300ms"; exit code 1 if one is missed. Repeatable. '
            f'\\[default: none; --ramp: "{DEFAULT_SLO}"]',
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", rich_help_panel=_JUDGED, help="The same in TOML: \\[total] p95 = 800, \\[segments.wait] …"
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", rich_help_panel=_OUTPUT, help="Write the report to this file; - prints it.")
    ] = None,
    html_file: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", rich_help_panel=_OUTPUT, help="The same as one page that needs no network."
        ),
    ] = None,
    wav: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=_OUTPUT,
            help="Record what was sent (left) and heard (right); several conversations: FILE-1.wav and so on.",
        ),
    ] = None,
    from_wav: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=_OUTPUT,
            help="Talk to nobody: measure such a recording, or any with the user left and the agent right.",
        ),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            metavar="OLD.json", rich_help_panel=_JUDGED, help="Say whether it became slower since --json wrote this."
        ),
    ] = None,
) -> None:
    """Talk to a node as people would, in real time, and report how long it lets them wait.

    Counts from the last voiced sample that is sent to the first audible sample that comes back.
    """
    from voiceedge.bench.conditions import read_report
    from voiceedge.bench.interval import interval
    from voiceedge.bench.live import LiveView
    from voiceedge.bench.options import BenchOptions, check_limits
    from voiceedge.bench.writable import check_writable

    limits = _limits(slo or [], budget)
    check_limits(limits)
    older = None if compare is None else read_report(compare)
    for file in (json_file, html_file):
        if file is not None and str(file) != "-":
            check_writable(file)
    if from_wav is not None:
        report = _described(replace(_measured_again(from_wav), budget=limits), url, older)
        _write(report, json_file, html_file)
        _conclude(report, BenchOptions(url))
        return
    with LiveView(terminal.err) as view, _tapes(wav, several=sessions > 1 or ramp) as tapes:
        if ramp and not limits.limits:
            view.say(f"looking for the most conversations with {DEFAULT_SLO} (--slo says otherwise)")
            limits = parse_budget(DEFAULT_SLO)
        options = BenchOptions(
            url=url,
            audio=tuple(audio or ()),
            say=tuple(say or ()),
            tts=_voice() if say or not audio else None,
            model=model,
            api_key=api_key,
            instructions=instructions,
            turn_detection=turn_detection,
            listen=listen,
            fresh=fresh,
            sessions=sessions,
            turns=turns,
            runs=runs,
            think=interval(think),
            hesitate=None if hesitate is None else interval(hesitate),
            barge_in=None if barge_in is None else interval(barge_in),
            via_rtt_ms=via_rtt,
            tapes=tapes,
            seed=seed,
            budget=limits,
            ramp=ramp,
            soak_s=None if soak is None else soak * SECONDS_A_MINUTE,
            arrivals_per_minute=arrivals,
            at_most=at_most,
            progress=view,
        )
        report = _run(options, view)
    report = _described(report, url, older)
    _write(report, json_file, html_file)
    _conclude(report, options)


def _tapes(wav: Path | None, *, several: bool) -> AbstractContextManager[Tapes | None]:
    from voiceedge.bench.tape import Tapes

    return nullcontext() if wav is None else Tapes(wav, several=several)


def _measured_again(wav: Path) -> BenchReport:
    from voiceedge.bench.from_wav import bench_from_wav

    return bench_from_wav(wav)


def _voice() -> Any:
    from voiceedge.engines.hibari import HibariTts

    return HibariTts()


def _limits(slo: list[str], file: Path | None) -> Budget:
    """All limits that were given.

    Raises:
        ConfigError: one cannot be read.
    """
    limits = [limit for text in slo for limit in parse_budget(text).limits]
    if file is not None:
        try:
            limits += budget_from(tomllib.loads(file.read_text("utf-8"))).limits
        except OSError as error:
            raise ConfigError(f"Cannot read the budget {file}: {error.strerror}.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file} is not valid TOML: {error}.") from error
    return Budget(tuple(limits))


def _run(options: BenchOptions, view: LiveView) -> BenchReport:
    from voiceedge.bench import probe
    from voiceedge.bench.loop import punctual_loop

    async def run() -> BenchReport:
        loop = asyncio.get_running_loop()

        def halt() -> None:
            """Keep what was measured; who cannot wait for it presses Ctrl-C again."""
            options.halt.ask()
            view.say("stopping after these turns; Ctrl-C again to stop now")
            loop.remove_signal_handler(signal.SIGINT)

        with suppress(NotImplementedError, ValueError):  # Windows; not the main thread
            loop.add_signal_handler(signal.SIGINT, halt)
        return await probe.run_bench(options, view.step)

    with asyncio.Runner(loop_factory=punctual_loop) as runner:
        return runner.run(run())


def _described(report: BenchReport, url: str, older: dict[str, Any] | None) -> BenchReport:
    """The report with the command to run it again, and held against an older one."""
    from voiceedge.bench.again import command_again
    from voiceedge.bench.change import compare
    from voiceedge.bench.conditions import differences
    from voiceedge.bench.report import to_json

    report = replace(report, command=command_again(sys.argv[1:], url))
    if older is None:
        return report
    newer = to_json(report)
    return replace(report, change=compare(older, newer, differences(older, newer)))


def _write(report: BenchReport, json_file: Path | None, html_file: Path | None) -> None:
    """Hand the report out in every form that was asked for; what can fail comes last.

    Raises:
        ConfigError: a file cannot be written any more.
    """
    from voiceedge.bench.html import to_html
    from voiceedge.bench.rendering import render
    from voiceedge.bench.report import to_json
    from voiceedge.bench.writable import write_text

    told = to_json(report)
    text = json.dumps(told, indent=1)
    if str(json_file) == "-":
        typer.echo(text)
    else:
        terminal.out.print(render(report), soft_wrap=False, crop=False)
        if json_file is not None:
            write_text(json_file, text + "\n")
    if html_file is not None:
        write_text(html_file, to_html(told))


def _conclude(report: BenchReport, options: BenchOptions) -> None:
    """End with the exit code that the run deserves.

    Raises:
        RunVoid: the bench was too busy to tell anything.
        typer.Exit: a limit was missed, the node was lost, or a ramp was stopped by hand before it knew.
    """
    from voiceedge.bench.selfcheck import RunVoid
    from voiceedge.bench.slo import kept

    if report.ramp is not None:
        why = report.ramp.limit_reason
        if report.ramp.lost:
            _fail(NODE_LOST, why)
        if report.ramp.is_void:
            raise RunVoid(f"The ramp is void: {why}.")
        if options.halt.asked:
            _fail(INTERRUPTED, why)
        if report.ramp.capacity == 0:
            _fail(SLO_MISSED, why)
        return
    if report.self_check is not None and report.self_check.void:
        raise RunVoid(f"The run is void, it says nothing about the node: {'; '.join(report.self_check.faults)}.")
    if not kept(report.judged):
        _fail(SLO_MISSED, "; ".join(str(one) for one in report.judged if not one.verdict.kept))
    if report.interrupted and not options.halt.asked:
        _fail(SLO_MISSED if report.judged else NODE_LOST, f"ended early: {report.interrupted}")


def _fail(code: int, why: str) -> NoReturn:
    terminal.err.print(Text(why, style="red"))
    raise typer.Exit(code)
