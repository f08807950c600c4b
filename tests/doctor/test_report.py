"""The doctor's report, at 80 columns and as JSON."""

import io
import json

import pytest
from rich.console import Console

from voiceedge.doctor.finding import Finding
from voiceedge.doctor.forecast import Forecast
from voiceedge.doctor.report import SCHEMA, Report, as_json, render
from voiceedge.doctor.selftest import Cost, LlmSpeed, Speed
from voiceedge.machine import Machine

MACHINE = Machine("x", ("AVX2",), 2)
FINDINGS = [
    Finding("machine", "ok", "a processor [with brackets] " * 5),
    Finding("clock", "warning", "it is late", "Set it."),
    Finding("network", "problem", "port 8080 is taken", "Choose another."),
]
SPEEDS = [
    Speed("stt", "whisper-base", 4.0, Cost(0.1, 0.2)),
    Speed("end_of_turn", "smart-turn-v3.2", 4.0, Cost(0.0272, 0.03)),
    LlmSpeed("qwen2.5-coder-0.5b-instruct", Cost(0.004, 0.008), Cost(0.025, 0.03)),
]
CPU_S = {"vad": 0.02, "end_of_turn": 0.06, "stt": 0.33, "llm": 1.18, "tts": 0.04, "rest": 0.24}
STANDARD = Forecast("standard", CPU_S, 2, 7, 20, 710.4)


def shown(*, findings=FINDINGS, speeds=SPEEDS, forecasts=(STANDARD,), skipped=False):
    out = io.StringIO()
    report = Report(MACHINE, findings, speeds, forecasts, skipped=skipped)
    Console(file=out, width=80, highlight=False).print(render(report))
    return out.getvalue()


def words(text):
    return " ".join(text.split())


def test_it_fits_into_80_columns():
    assert max(len(line.rstrip()) for line in shown().splitlines()) <= 80


def test_every_line_says_ok_warning_or_problem_and_what_to_do():
    text = shown()
    assert "a processor [with brackets]" in text
    assert "warning it is late → Set it." in words(text)
    assert "problem port 8080 is taken → Choose another." in words(text)
    assert text.splitlines()[-1].strip() == "1 problem"


def test_without_problems_it_says_so():
    assert shown(findings=FINDINGS[:2]).splitlines()[-1].strip() == "no problems"


def test_speeds_are_told_as_people_compare_them():
    text = words(shown())
    assert "stt whisper-base real-time factor 0.025" in text
    assert "end_of_turn smart-turn-v3.2 27 ms a judgement" in text
    assert "llm qwen2.5-coder-0.5b-instruct reads 250, writes 40 tokens/s" in text


def test_the_estimate_shows_its_calculation_its_assumptions_and_how_to_measure():
    text = words(shown())
    assert "standard: about 7 sessions; alone, an answer after some 710 ms" in text
    assert "vad 0.02 + end_of_turn 0.06 + stt 0.33 + llm 1.18 + tts 0.04 + rest 0.24 = 1.87 CPU s a turn" in text
    assert "2 cores x 0.6 x 15 s a turn / 1.87 = 7; memory lasts for 20" in text
    assert "An estimate, not a measurement." in text
    assert (
        "recommended: voiceedge serve --profile standard --max-sessions 7; then measure it with voiceedge bench" in text
    )


def test_a_machine_that_is_too_slow_is_told():
    slow = Forecast("nano", CPU_S, 2, 1, None, 2000.0)
    assert "None of the profiles tried (nano) can hold a prompt conversation here." in words(shown(forecasts=[slow]))


@pytest.mark.parametrize(("skipped", "why"), [(True, "the self-test was skipped"), (False, "no profile has all of")])
def test_without_a_self_test_nothing_is_made_up(skipped, why):
    text = words(shown(speeds=(), forecasts=(), skipped=skipped))
    assert f"what to expect unknown: {why}" in text
    assert "voiceedge bench --ramp measures it" in text


def test_the_json_has_a_schema_and_all_of_it():
    told = json.loads(json.dumps(as_json(Report(MACHINE, FINDINGS, SPEEDS, [STANDARD]))))
    assert (told["schema"], told["problems"], told["warnings"]) == (SCHEMA, 1, 1)
    assert told["machine"]["flags"] == ["AVX2"]
    assert told["findings"][1] == {"topic": "clock", "level": "warning", "text": "it is late", "advice": "Set it."}
    assert told["self_test"][0]["real_time_factor"] == 0.025
    assert told["self_test"][2]["decode_tokens_a_second"] == 40.0
    assert told["estimate"]["recommended"] == "standard"
    assert told["estimate"]["profiles"][0]["sessions"] == 7
    assert told["estimate"]["assumptions"]["turn_s"] == 15.0
    assert told["estimate"]["measure_with"] == "voiceedge bench --ramp"
