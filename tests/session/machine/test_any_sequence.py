"""Whatever a client sends, whenever, and whatever the engines do: the rules of the protocol hold.

`scripts/sequences` plays many more.
"""

import secrets

import pytest

from tests.session.machine.many import Tally, hold
from tests.session.machine.moves import Move, Script, Setting
from tests.session.machine.play import play

SEQUENCES = 500


def test_the_rules_hold_in_sequences_that_are_the_same_everywhere():
    hold(SEQUENCES, 1, Tally())


def test_the_rules_hold_in_sequences_that_are_new_each_time():
    seed = secrets.randbelow(2**32)
    print(f"scripts/sequences --count {SEQUENCES} --seed {seed}")  # noqa: T201 - pytest shows it when a rule is broken
    hold(SEQUENCES, seed, Tally())


TURN = Move(0.0, "turn", {"speech_ms": 200, "silence_ms": 400, "chunk_ms": 100})
NEW_VOICE = Move(4.0, "session.update", {"session": {"audio": {"output": {"voice": "ash"}}}})
FOUND = {
    "an answer without a sound does not fix the voice": Script(Setting(answer=""), (TURN, NEW_VOICE)),
    "who takes back a response that is not announced is told so": Script(
        Setting(stt_s=1.2), (TURN, Move(1.0, "response.cancel", {"whom": "whatever runs"}))
    ),
    "an answer that failed does not fix the voice": Script(
        Setting(), (Move(0.0, "break", {"stage": "llm"}), TURN, NEW_VOICE)
    ),
}
"""Sequences that have broken a rule once."""


@pytest.mark.parametrize("name", FOUND)
def test_the_rules_hold_in_what_was_found_before(name):
    play(FOUND[name])
