"""The doctor's report: for a terminal of 80 columns, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from voiceedge import __version__
from voiceedge.doctor.finding import Finding, Level
from voiceedge.doctor.forecast import BUSY, TALK, WAIT_MS, Forecast, recommended
from voiceedge.doctor.selftest import AnySpeed, LlmSpeed
from voiceedge.machine import Machine
from voiceedge.trace import MILLISECONDS_A_SECOND

SCHEMA = "voiceedge.doctor/1"
COLOURS: dict[Level, str] = {"ok": "green", "warning": "yellow", "problem": "red"}
MEASURE = "voiceedge bench --ramp"


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found."""

    machine: Machine
    findings: Sequence[Finding]
    speeds: Sequence[AnySpeed] = ()
    """Of the models that were tried; none if nothing was tried."""
    forecasts: Sequence[Forecast] = ()
    """Of the profiles whose models were all tried."""
    skipped: bool = False
    """Whether the self-test was not wanted."""

    @property
    def problems(self) -> int:
        """How many lines are a problem."""
        return sum(finding.level == "problem" for finding in self.findings)


def as_json(report: Report) -> dict[str, Any]:
    """The report for programs."""
    best = recommended(report.forecasts)
    return {
        "schema": SCHEMA,
        "version": __version__,
        "problems": report.problems,
        "warnings": sum(finding.level == "warning" for finding in report.findings),
        "machine": asdict(report.machine),
        "findings": [asdict(finding) for finding in report.findings],
        "self_test": [_speed_json(speed) for speed in report.speeds],
        "estimate": {
            "assumptions": {**asdict(TALK), "busy_share": BUSY, "wait_ms": WAIT_MS},
            "profiles": [_forecast_json(each) for each in report.forecasts],
            "recommended": None if best is None else best.profile,
            "measure_with": MEASURE,
        },
    }


def render(report: Report) -> Group:
    """The report for a person."""
    parts: list[RenderableType] = []
    for topic, findings in groupby(report.findings, lambda finding: finding.topic):
        parts += [Text(topic, style="bold"), *(line for finding in findings for line in _lines(finding))]
    if report.speeds:
        parts += [Text("self-test", style="bold"), _speeds(report.speeds)]
    parts.append(Text("what to expect", style="bold"))
    parts += _expectation(report)
    problems = report.problems
    total = f"{problems} problem{'' if problems == 1 else 's'}" if problems else "no problems"
    parts += ["", Text(total, style=f"bold {COLOURS['problem' if problems else 'ok']}")]
    return Group(*parts)


def _lines(finding: Finding) -> list[RenderableType]:
    mark = f"[{COLOURS[finding.level]}]{finding.level:<8}[/]"
    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_column(no_wrap=True)
    row.add_column(overflow="fold")
    row.add_row(f"  {mark}", escape(finding.text))
    if finding.advice:
        row.add_row("", f"[dim]→ {escape(finding.advice)}[/]")
    return [row]


def _speeds(speeds: Sequence[AnySpeed]) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(no_wrap=True, max_width=28)
    table.add_column(overflow="fold")
    for speed in speeds:
        table.add_row(speed.stage, escape(speed.model), _speed(speed))
    return Padding(table, (0, 0, 0, 2))


def _speed(speed: AnySpeed) -> str:
    if isinstance(speed, LlmSpeed):
        return f"reads {1 / speed.prefill.wall_s:,.0f}, writes {1 / speed.decode.wall_s:,.0f} tokens/s"
    if speed.stage == "end_of_turn":
        return f"{speed.cost.wall_s * MILLISECONDS_A_SECOND:.0f} ms a judgement"
    return f"real-time factor {speed.real_time_factor:.3f}"


def _expectation(report: Report) -> list[RenderableType]:
    if not report.forecasts:
        why = "the self-test was skipped" if report.skipped else "no profile has all of its models here"
        return [Text(f"  unknown: {why}; {MEASURE} measures it")]
    parts: list[RenderableType] = []
    for each in report.forecasts:
        parts += [Padding(Text(line), (0, 0, 0, 2)) for line in _calculation(each)]
    parts += [Padding(Text(_assumptions(), style="dim"), (0, 0, 0, 2)), Padding(_recommendation(report), (0, 0, 0, 2))]
    return parts


def _calculation(each: Forecast) -> list[str]:
    total = sum(each.cpu_s_a_turn.values())
    sum_of = " + ".join(f"{stage} {cpu_s:.2f}" for stage, cpu_s in each.cpu_s_a_turn.items())
    memory = "" if each.by_memory is None else f"; memory lasts for {each.by_memory}"
    return [
        f"{each.profile}: about {each.sessions} sessions; alone, an answer after some {each.answer_ms:.0f} ms",
        f"  {sum_of} = {total:.2f} CPU s a turn",
        f"  {each.cores:g} cores x {BUSY:g} x {TALK.turn_s:g} s a turn / {total:.2f} = {each.by_cpu}{memory}",
    ]


def _assumptions() -> str:
    return (
        f"An estimate, not a measurement. It assumes a turn every {TALK.turn_s:g} s, {TALK.speech_s:g} s of question "
        f"and {TALK.answer_s:g} s of answer ({TALK.read_tokens} and {TALK.written_tokens} tokens), words that are "
        f"transcribed {TALK.hearings:g} times, {TALK.judgements:g} pauses judged, {TALK.drafts:g} answers made for one "
        f"that is heard, {TALK.rest:.0%} of a core for the rest of a session, tokens decoded alone, and cores that are "
        f"busy {BUSY:.0%} of the time."
    )


def _recommendation(report: Report) -> Text:
    best = recommended(report.forecasts)
    if best is None:
        tried = ", ".join(each.profile for each in report.forecasts)
        return Text(f"None of the profiles tried ({tried}) can hold a prompt conversation here.", style="red")
    return Text.from_markup(
        f"recommended: [bold]voiceedge serve --profile {best.profile} --max-sessions {best.sessions}[/]; "
        f"then measure it with [bold]{MEASURE}[/]"
    )


def _speed_json(speed: AnySpeed) -> dict[str, Any]:
    if isinstance(speed, LlmSpeed):
        return {
            "stage": speed.stage,
            "model": speed.model,
            "prefill_tokens_a_second": round(1 / speed.prefill.wall_s, 1),
            "decode_tokens_a_second": round(1 / speed.decode.wall_s, 1),
            "prefill_cpu_s_a_token": round(speed.prefill.cpu_s, 6),
            "decode_cpu_s_a_token": round(speed.decode.cpu_s, 6),
        }
    return {
        "stage": speed.stage,
        "model": speed.model,
        "audio_s": round(speed.audio_s, 3),
        "wall_s": round(speed.cost.wall_s, 6),
        "cpu_s": round(speed.cost.cpu_s, 6),
        "real_time_factor": round(speed.real_time_factor, 6),
    }


def _forecast_json(each: Forecast) -> dict[str, Any]:
    return {
        "profile": each.profile,
        "sessions": each.sessions,
        "sessions_by_cpu": each.by_cpu,
        "sessions_by_memory": each.by_memory,
        "cores": each.cores,
        "cpu_s_a_turn": {stage: round(cpu_s, 4) for stage, cpu_s in each.cpu_s_a_turn.items()},
        "answer_ms": round(each.answer_ms, 1),
    }
