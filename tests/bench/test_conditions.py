import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.rows import whole_report
from voiceedge.bench.conditions import by_chance, differences, read_report
from voiceedge.bench.report import to_json
from voiceedge.errors import ConfigError


def told(turns=40, failed=0, node=None, **environment):
    rows = [{"audio": f"r{n}", "client_v2v_ms": None if n < failed else 300.0} for n in range(turns)]
    return {"environment": environment, "turns": rows, "node": node, "interrupted": None, "self_check": None}


def test_a_report_that_the_bench_wrote_is_read(tmp_path):
    path = tmp_path / "old.json"
    path.write_text(json.dumps(to_json(whole_report())))
    assert read_report(path)["schema"] == "voiceedge.bench/3"
    path.write_text('{"schema": "voiceedge.bench/2", "turns": []}')
    assert read_report(path)["turns"] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read: No such file"),
        ("{", "is no report"),
        ("[]", "its schema is None"),
        ('{"schema": "voiceedge.bench/1"}', "its schema is 'voiceedge.bench/1', not"),
    ],
)
def test_what_is_no_report_is_explained_in_one_line(tmp_path, text, words):
    path = tmp_path / "old.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_report(path)


def test_the_same_conditions_have_no_differences():
    report = told(cpu="c", cores=2, think_s="1", load_before=0.2, node={"profile": "nano"})
    assert differences(report, report) == []


def test_another_machine_and_other_settings_are_said():
    old = told(cpu="a", cores=2, think_s="1", memory_bytes=1, finished_at=1, url="host:1")
    new = told(cpu="b", cores=2, think_s="1..4", finished_at=2, url="host:2")
    assert differences(old, new) == ["the client's cpu was a and is b", "think s was 1 and is 1..4"]


def test_other_models_and_another_machine_of_the_node_are_said():
    def node(digest, cpu):
        models = [{"stage": "llm", "name": "small", "sha256": digest * 64, "quantisation": "int8"}]
        return {"models": models, "machine": {"cpu": cpu, "cores": 4}, "sessions": 3}

    assert differences(told(node=node("a", "x")), told(node=node("b", "y"))) == [
        "the node's cpu was x and is y",
        f"the node's model for llm was small (int8, {'a' * 12}) and is small (int8, {'b' * 12})",
    ]
    assert differences(told(node=None), told(node=node("b", "y"))) == []


def test_a_busier_machine_is_said():
    (said,) = differences(told(cores=4, load_before=0.1), told(cores=4, load_before=1.3))
    assert "0.1 and is 1.3" in said
    assert differences(told(cores=4, load_before=0.1), told(cores=4, load_before=0.9)) == []
    (said,) = differences(told(cores=1, load_after=0.1), told(cores=1, load_after=0.9))
    assert "after the run" in said


def test_a_run_that_is_void_or_ended_early_is_said():
    void = told() | {"self_check": {"void": True, "faults": ["it slept"]}, "interrupted": "stopped by hand"}
    assert differences(void, told()) == ["the old run ended early: stopped by hand", "the old run is void: it slept"]
    assert differences(told(), void)[0] == "this run ended early: stopped by hand"


def test_other_recordings_are_said():
    assert differences(told(40), told(30)) == ["the recordings are not the same: 40 then, 30 now, 30 in both runs"]


def test_more_failed_turns_are_said_unless_it_may_be_chance():
    assert differences(told(), told(failed=10)) == ["turns failed: 0 of 40 then, 10 of 40 now, which is no chance"]
    assert differences(told(), told(failed=2)) == []


@pytest.mark.parametrize(
    ("first", "second", "expected"), [((0, 40), (10, 40), 0.0010), ((1, 9), (11, 14), 0.0028), ((3, 20), (3, 20), 1.0)]
)
def test_chance_is_what_fishers_exact_test_says(first, second, expected):
    assert by_chance(*first, *second) == pytest.approx(expected, abs=5e-4)


@given(st.integers(1, 30), st.integers(1, 30), st.data())
def test_chance_is_a_probability_and_the_same_either_way_round(turns, others, data):
    failed, other_failed = data.draw(st.integers(0, turns)), data.draw(st.integers(0, others))
    found = by_chance(failed, turns, other_failed, others)
    assert 0.0 < found <= 1.0 + 1e-9
    assert found == pytest.approx(by_chance(other_failed, others, failed, turns))
