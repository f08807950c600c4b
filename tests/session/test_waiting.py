import gc
import weakref
from concurrent.futures import Future

from voiceedge.session.steps import Iteration, Step
from voiceedge.session.waiting import JOIN_S, Waiting
from voiceedge.trace import now


class Model:
    pass


class Row:
    def __init__(self, model):
        self.model = model

    def batch(self, others):
        return Batch([self, *others]) if others else None


class Batch:
    def __init__(self, rows):
        self.rows = rows


def step(number, *, at=0.0, row=None, is_first=True):
    return Step(lambda: at, number, lambda: None, Future(), None, "llm", now(), row=row, is_first=is_first)


def waiting(*steps, is_out=lambda _: False):
    made = Waiting(is_out)
    for each in steps:
        made.add(each)
    return made


def test_the_most_urgent_goes_first_and_waits_no_more_once_it_is_reserved():
    late, soon = step(1, at=9.0), step(2, at=1.0)
    those = waiting(late, soon)
    assert those.next() == [soon]
    assert len(those) == 2
    assert those.reserve([soon]) is None
    assert (len(those), those.next()) == (1, [late])


def test_what_was_cancelled_does_not_wait():
    gone = step(1)
    those = waiting(gone)
    gone.result.cancel()
    assert those.next() == []
    assert len(those) == 0


def test_rows_of_one_model_share_a_run_unless_they_have_time():
    model, at = Model(), now()
    rows = [step(number, at=at + number * JOIN_S, row=Row(model)) for number in range(3)]
    those = waiting(*rows)
    chosen = those.next()
    assert chosen == rows[:2]
    batch = those.reserve(chosen)
    assert [row.model for row in batch.rows] == [model, model]
    assert those.next() == []  # one run of a model at a time
    assert those.gathering_s() is None
    those.served(model, 0)
    assert those.next() == rows[2:]


def test_a_run_waits_for_those_that_the_last_one_served():
    model = Model()
    those = waiting(step(1, row=Row(model)))
    those.served(model, 2)
    assert those.next() == []
    assert 0.0 <= those.gathering_s() < 1.0


def test_what_would_begin_with_an_engine_that_is_out_waits_and_what_has_begun_does_not():
    first, later = step(1), step(2, is_first=False)
    those = waiting(first, later, is_out=lambda each: each.is_first)
    assert those.next() == [later]


def test_what_waits_too_long_for_its_engine_can_be_taken_away():
    out, other = step(1), step(2, is_first=False)
    those = waiting(out, other, is_out=lambda each: each.is_first)
    assert those.take_stuck(1e9) == []
    assert those.take_stuck(-1.0) == [out]
    assert those.take_all() == [other]
    assert len(those) == 0


def test_a_model_that_was_replaced_is_not_kept_by_what_is_known_of_its_runs():
    model = Model()
    gone = weakref.ref(model)
    those = waiting(step(1, row=Row(model)))
    those.reserve(those.next())
    those.served(model, 1)
    del model
    gc.collect()
    assert gone() is None


def test_an_iteration_begins_with_its_first_step_and_can_be_closed_at_any_time():
    begun = []

    def steps():
        begun.append(1)
        yield "a"

    iteration = Iteration(steps)
    assert (iteration.has_begun, iteration.row) == (False, None)
    iteration.close()
    assert begun == []
    assert iteration.advance() == "a"
    assert iteration.has_begun
    iteration.close()
    assert iteration.advance() != "a"
