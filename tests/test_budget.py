import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.bench.figures import percentile
from voiceedge.budget import Budget, Limit, Overrun, budget_from, parse_budget, rank
from voiceedge.errors import ConfigError
from voiceedge.trace import SEGMENTS, PathSegment

TIMES = st.floats(0.0, 1e5)
LIMITS = st.builds(
    Limit,
    what=st.sampled_from(("total", *SEGMENTS)),
    percentile=st.integers(1, 1000).map(lambda tenths: tenths / 10),
    ms=st.integers(1, 99_999).map(lambda tenths: tenths / 10),
)
BUDGETS = st.lists(LIMITS, min_size=1, max_size=6).map(tuple).map(Budget)
PATHS = st.lists(TIMES, min_size=len(SEGMENTS), max_size=len(SEGMENTS)).map(
    lambda times: tuple(PathSegment(name, ms) for name, ms in zip(SEGMENTS, times, strict=True))
)


def path(**times):
    return tuple(PathSegment(name, ms) for name, ms in times.items())


# ── how it is written ─────────────────────────────────────────────────────────────────────────────────────


def test_limits_of_the_total_and_of_segments_are_read():
    assert parse_budget("p95<800ms, wait.p95<300ms").limits == (Limit("total", 95, 800), Limit("wait", 95, 300))
    assert parse_budget("p50<400ms,p95<0.8s").limits == (Limit("total", 50, 400), Limit("total", 95, 800))
    assert parse_budget(" total.p99.9 < 1s ").limits == (Limit("total", 99.9, 1000),)
    assert parse_budget("end_of_turn.p50<20.5ms").limits == (Limit("end_of_turn", 50, 20.5),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "p95",
        "p95<800",
        "95<800ms",
        "p95>800ms",
        "p95<=800ms",
        "p0<1ms",
        "p101<1ms",
        "p95<0ms",
        "p95<800ms,",
        "p95<1h",
    ],
)
def test_what_is_no_limit_is_refused_in_one_line(text):
    with pytest.raises(ConfigError, match="is no limit") as refused:
        parse_budget(text)
    assert "\n" not in str(refused.value)


@given(BUDGETS)
def test_what_is_written_out_is_read_back(budget):
    assert parse_budget(str(budget)) == budget


def test_a_file_says_the_same():
    table = tomllib.loads(
        "[total]\np50 = 500\np99.9 = 2000\n[segments.wait]\np95 = 300.5\n".replace("p99.9", '"p99.9"')
    )
    assert budget_from(table) == parse_budget("p50<500ms,p99.9<2s,wait.p95<300.5ms")


@pytest.mark.parametrize(
    "text",
    [
        "p95 = 800",
        "total = 800",
        "segments = 1",
        "[total]\nmean = 5",
        "[total]\np95 = '800ms'",
        "[total]\np95 = true",
        "[total]\np95 = -1",
        "[total]\np101 = 5",
        "[segments]\nwait = 300",
    ],
)
def test_a_file_that_says_something_else_is_refused(text):
    with pytest.raises(ConfigError):
        budget_from(tomllib.loads(text))


# ── one turn ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_turn_is_held_against_the_widest_limit():
    budget = parse_budget("p50<400ms,p95<800ms")
    assert budget.judge(799.9, path(wait=300.0, llm=499.9)) is None
    assert budget.judge(800.0, path(wait=300.0, llm=500.0)) == Overrun("llm", 500.0, 800.0, 800.0)


def test_the_segment_that_is_over_its_own_limit_by_most_is_named():
    budget = parse_budget("p95<800ms,wait.p95<300ms,llm.p95<100ms")
    assert budget.judge(900.0, path(wait=310.0, llm=190.0, tts=400.0)) == Overrun("llm", 190.0, 100.0, 900.0)


def test_a_segment_may_be_over_in_a_turn_that_is_in_time():
    assert parse_budget("p95<800ms,wait.p95<300ms").judge(500.0, path(wait=350.0)) == Overrun(
        "wait", 350.0, 300.0, 500.0
    )


def test_a_turn_without_a_path_is_over_as_a_whole():
    assert parse_budget("p95<800ms").judge(900.0, ()) == Overrun("total", 900.0, 800.0, 900.0)


def test_a_turn_that_was_never_heard_is_a_failure_and_no_overrun():
    assert parse_budget("p95<800ms").judge(None, ()) is None


@given(BUDGETS, PATHS)
def test_a_turn_is_over_exactly_when_one_of_its_times_is(budget, legs):
    total = sum(leg.ms for leg in legs)
    times = {"total": total, **{leg.segment: leg.ms for leg in legs}}
    over = {limit.what for limit in budget.limits if times[limit.what] >= (budget.widest_ms(limit.what) or 0.0)}
    overrun = budget.judge(total, legs)
    assert (overrun is not None) == bool(over)
    if overrun:
        assert times[overrun.segment] == overrun.ms
        assert overrun.segment in over or over == {"total"}
        assert overrun.total_ms == total


def test_without_limits_everything_is_in_time():
    assert Budget().judge(1e9, path(llm=1e9)) is None
    assert Budget().verdicts([None], [()]) == ()


# ── many turns ────────────────────────────────────────────────────────────────────────────────────────────


def test_every_limit_has_its_verdict():
    budget = parse_budget("p50<400ms,p95<400ms,wait.p50<300ms")
    totals = [300.0, 350.0, 500.0]
    paths = [path(wait=200.0), path(wait=310.0), path(wait=320.0)]
    assert [(one.found_ms, one.kept) for one in budget.verdicts(totals, paths)] == [
        (350.0, True),
        (500.0, False),
        (310.0, False),
    ]


def test_failed_turns_are_slower_than_all_others():
    (total, wait) = parse_budget("p95<800ms,wait.p95<800ms").verdicts([100.0, None], [path(wait=50.0), ()])
    assert (total.found_ms, total.kept) == (None, False)
    assert (wait.found_ms, wait.kept) == (None, False)


def test_what_nobody_tells_is_not_kept():
    (verdict,) = parse_budget("sst.p95<800ms").verdicts([100.0], [path(stt=50.0)])
    assert (verdict.found_ms, verdict.kept) == (None, False)


def test_no_turns_keep_nothing():
    (verdict,) = parse_budget("p95<800ms").verdicts([], [])
    assert not verdict.kept


@given(st.lists(TIMES, min_size=1, max_size=50), st.integers(1, 100), st.floats(1.0, 1e5))
def test_percentiles_are_those_of_the_bench(totals, percent, ms):
    (verdict,) = Budget((Limit("total", percent, ms),)).verdicts(totals, [()] * len(totals))
    assert verdict.found_ms == percentile(totals, percent)
    assert verdict.kept == (verdict.found_ms < ms)


@pytest.mark.parametrize(
    ("n", "percent", "expected"), [(1000, 99.9, 999), (1000, 55.0, 550), (20, 95.0, 19), (3, 0.1, 1), (7, 100.0, 7)]
)
def test_the_nearest_rank_is_the_exact_one(n, percent, expected):
    assert rank(n, percent) == expected


@given(st.integers(1, 20_000), st.integers(1, 1000))
def test_the_nearest_rank_is_that_of_whole_numbers(n, tenths):
    assert rank(n, tenths / 10) == -(-tenths * n // 1000)
