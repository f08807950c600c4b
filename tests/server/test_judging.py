import pytest

from voiceedge.budget import Budget, Limit
from voiceedge.errors import ConfigError
from voiceedge.protocol.extensions import TracedSegment, TurnTraced
from voiceedge.server.judging import Judge, read_budget


def turn(total_ms=None, status="completed", facts=None, **segments):
    return TurnTraced(
        turn=1,
        response_id="resp_1",
        item_id="item_1",
        status=status,
        total_ms=total_ms,
        marks_ms={},
        critical_path=tuple(TracedSegment(name, ms) for name, ms in segments.items()),
        facts=facts or {},
    )


def judged(budget, traced):
    Judge(read_budget(budget)).report("sess_1", traced)
    return {name: value for name, value in traced.facts.items() if name.startswith("over_budget")}


# ── the setting ───────────────────────────────────────────────────────────────────────────────────────────


def test_without_a_budget_every_turn_is_in_time():
    assert read_budget(None) == Budget()
    assert judged(None, turn(1e6, llm=1e6)) == {}


def test_a_budget_is_written_out_or_stands_in_a_file(tmp_path):
    file = tmp_path / "budget.toml"
    file.write_text("[total]\np95 = 800\n[segments.wait]\np95 = 300\n")
    expected = Budget((Limit("total", 95, 800), Limit("wait", 95, 300)))
    assert read_budget(str(file)) == read_budget("p95<800ms, wait.p95<300ms") == expected


def test_the_network_may_have_a_limit():
    assert read_budget("network.p95<80ms").limits == (Limit("network", 95, 80),)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("soon", "'soon' is no limit"),
        ("sst.p95<300ms", r"a limit for 'sst'; a turn has total, wait, .*, network\.$"),
        ("nowhere.toml", "Cannot read the budget nowhere.toml: No such file"),
        ("{broken}", "is not valid TOML"),
        ("{empty}", "needs percentiles"),
    ],
)
def test_what_is_no_budget_is_the_operators_to_know(tmp_path, setting, message):
    broken, empty = tmp_path / "broken.toml", tmp_path / "empty.toml"
    broken.write_bytes(b"[total\xff")
    empty.write_text("total = 1")
    with pytest.raises(ConfigError, match=message):
        read_budget(setting.format(broken=broken, empty=empty))


# ── the verdict ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_turn_that_is_over_names_the_segment_that_is_to_blame():
    assert judged("p95<800ms,llm.p95<400ms", turn(900.0, wait=288.0, llm=612.0)) == {
        "over_budget": "llm",
        "over_budget_ms": 612.0,
        "over_budget_limit_ms": 400.0,
    }


def test_without_a_limit_of_its_own_the_segment_that_took_most_is_named():
    assert judged("p95<800ms", turn(900.0, wait=288.0, llm=612.0)) == {
        "over_budget": "llm",
        "over_budget_ms": 612.0,
        "over_budget_limit_ms": 800.0,
    }


@pytest.mark.parametrize(
    "traced", [turn(700.0, wait=100.0, llm=600.0), turn(status="failed"), turn(status="cancelled")]
)
def test_a_turn_in_time_and_one_that_was_never_heard_are_not_over(traced):
    assert judged("p95<800ms,wait.p95<200ms", traced) == {}


def test_the_network_is_to_blame_where_the_node_is_not():
    slow = {"round_trip_ms": 120.0}
    assert judged("p95<800ms,network.p95<80ms", turn(500.0, facts=dict(slow), llm=500.0))["over_budget"] == "network"
    assert judged("p95<400ms,network.p95<80ms", turn(500.0, facts=dict(slow), llm=500.0))["over_budget"] == "llm"
    assert judged("network.p95<80ms", turn(500.0, facts={"round_trip_ms": 79.9}, llm=500.0)) == {}
    assert judged("network.p95<80ms", turn(500.0, llm=500.0)) == {}


def test_everybody_is_told_of_the_same_judged_turn():
    first, second = [], []
    judge = Judge(read_budget("p95<800ms"), lambda *told: first.append(told), lambda *told: second.append(told))
    traced = turn(900.0, llm=900.0)
    judge.report("sess_1", traced)
    assert first == second == [("sess_1", traced)]
    assert first[0][1].facts["over_budget"] == "llm"


def test_who_fails_at_a_turn_keeps_it_from_nobody_else(caplog):
    def broken(*_):
        raise ZeroDivisionError

    told = []
    Judge(Budget(), broken, lambda *turn: told.append(turn)).report("sess_1", turn(1.0))
    assert len(told) == 1
    assert "could not be reported" in caplog.text
