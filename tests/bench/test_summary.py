from dataclasses import replace

import pytest

from tests.bench.rows import exchange, row
from voiceedge.bench.row import turn_row
from voiceedge.bench.summary import summarise


def test_a_failed_turn_is_in_the_denominator():
    found = summarise([turn_row(exchange("a", 0.5)), turn_row(exchange("b", None))])
    assert (found.turns, found.failed, found.client_v2v_ms.n) == (2, 1, 2)
    assert (found.client_v2v_ms.p50, found.client_v2v_ms.p95) == (pytest.approx(500.0), None)
    assert found.problems["no_answer"] == 1
    assert found.problems["split"] == 0


def test_network_waiting_queueing_and_computing_have_figures_of_their_own():
    found = summarise([row("a", 540.0, network_ms=30.0, zero_shift_ms=-4.0)])
    assert (found.wait_ms.p50, found.queue_ms.p50, found.compute_ms.p50) == (200.0, 0.0, 290.0)
    assert (found.network_ms.p50, found.leading_silence_ms.p50, found.zero_shift_ms.p50) == (30.0, 5.0, -4.0)
    assert found.unexplained_ms.p50 == pytest.approx(19.0)


def test_an_interruption_that_nobody_noticed_counts_as_slower_than_all_others():
    rows = [row("a", interrupts=True, barge_in_ms=180.0, dead_audio_ms=200.0), row("b", interrupts=True), row("c")]
    found = summarise(rows)
    assert (found.barge_in_ms.n, found.barge_in_ms.failed, found.barge_in_ms.p95) == (2, 1, None)
    assert found.dead_audio_ms.n == 1


def test_words_are_compared_where_something_was_transcribed():
    said = row("a", expected_text="half past two", user_text="half past three")
    found = summarise([said, row("b", expected_text=None)]).transcripts
    assert (found.turns, found.words, found.errors) == (1, 3, 1)
    assert summarise([replace(said, user_text="")]).transcripts is None
    assert summarise([row("b")]).transcripts is None


# ── drafts: what the node says about answers that it began early ──────────────────────────────────────────


def drafts_of(*facts):
    return summarise([row("a", facts=one) for one in facts]).drafts


def test_the_share_of_answers_that_were_ready_and_of_engine_time_thrown_away():
    found = drafts_of(
        {"answer_ready_at_endpoint": 1, "wasted_ms": 0, "work_ms": 300},
        {"answer_ready_at_endpoint": 0, "wasted_ms": 100, "work_ms": 300},
        {"wasted_ms": 100, "work_ms": 200},  # no draft was of use
        {"prefill_tokens": 9},  # says nothing
    )
    assert (found.turns, found.wasted_ms) == (3, 200.0)
    assert found.drafted_percent == pytest.approx(200 / 3)
    assert found.ready_percent == pytest.approx(100 / 3)
    assert found.wasted_percent == pytest.approx(20.0)


def test_what_a_node_says_outright_about_drafting_counts():
    found = drafts_of({"speculated": 1, "wasted_ms": 50}, {"speculated": 0, "wasted_ms": 0})
    assert (found.drafted_percent, found.ready_percent, found.wasted_percent) == (50.0, 0.0, None)


def test_a_node_that_says_nothing_about_drafts_has_no_figures_of_them():
    assert drafts_of({"prefill_tokens": 9}, {}) is None
