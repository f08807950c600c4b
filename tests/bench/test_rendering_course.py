from voiceedge.bench.arrivals import Arrivals
from voiceedge.bench.figures import distribution
from voiceedge.bench.rendering_course import course
from voiceedge.bench.report import BenchReport
from voiceedge.bench.soak import Drift


def said(**found):
    return [line.plain for line in course(BenchReport({}, (), **found))]


def test_a_run_without_either_has_no_line():
    assert said() == []


def test_drift_is_said_in_figures_and_per_cent():
    found = Drift(distribution([400.0] * 4), distribution([500.0, 500.0, 500.0], failed=1))
    assert said(drift=found) == [
        "drift, first to last quarter: p50 400 to 500 ms (+25 %), p95 400 to ∞ ms, failed 0 to 1, of 4 turns each"
    ]


def test_arrivals_say_what_was_not_held():
    found = Arrivals(12.0, 40, 2, 1, 6, distribution([5.0, 9.0]))
    (line,) = said(arrivals=found)
    assert line.startswith("open model, 12 conversations a minute: 40 arrived, 2 dropped, 1 refused, 6 at once at most")
    assert line.endswith("; from arrival to a session p50 5, p95 9, max 9 ms")
    assert said(arrivals=Arrivals(12.0, 1, 0, 1, 1, distribution([])))[0].endswith("; none could be talked in")
