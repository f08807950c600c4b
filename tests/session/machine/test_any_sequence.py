"""Whatever a client sends, whenever, and whatever the engines do: the rules of the protocol hold.

`scripts/sequences` plays many more.
"""

import secrets

from tests.session.machine.many import Tally, hold

SEQUENCES = 500


def test_the_rules_hold_in_sequences_that_are_the_same_everywhere():
    hold(SEQUENCES, 1, Tally())


def test_the_rules_hold_in_sequences_that_are_new_each_time():
    seed = secrets.randbelow(2**32)
    print(f"scripts/sequences --count {SEQUENCES} --seed {seed}")  # noqa: T201 - pytest shows it when a rule is broken
    hold(SEQUENCES, seed, Tally())
