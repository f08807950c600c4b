"""The attackers' own tools: what they count, what they send, and that nothing of the library is left out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from websockets.frames import OP_TEXT, Frame

from tests.adversary import wire
from tests.adversary.attack import ATTACKS, LET_IN, Attack, Over, carry_out
from tests.adversary.credentials import Credentials
from tests.adversary.library import MODULES
from tests.adversary.target import Leash, Target

TARGET = Target(0, Credentials("", "", "", "", {}))


def _attack(attempt, *answers, **more) -> Attack:
    return Attack("slow-head", "", "", answers, attempt, **more)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=lambda attack: attack.name)
def test_every_attack_says_what_it_sends_and_what_a_good_node_does(attack: Attack):
    assert attack.sends.endswith(".")
    assert attack.must
    assert attack.answers
    assert set(LET_IN) <= set(attack.answers) or not attack.is_in


def test_every_module_of_attacks_is_in_the_library():
    files = {path.stem for path in Path(__file__).parent.glob("*.py") if "\n@attack(" in path.read_text("utf-8")}
    assert {module.__name__.rpartition(".")[2] for module in MODULES} == files


async def test_each_attempt_takes_the_next_variant_and_is_counted_by_its_answer():
    async def attempt(_, variant):
        return f"HTTP {variant}"

    answers = await carry_out(_attack(attempt, variants=(401, 403)), TARGET, attempts=5)
    assert answers == Counter({"HTTP 401": 3, "HTTP 403": 2})


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (Over("silence"), "silence"),
        (Over("HTTP 503"), "HTTP 503"),
        (ConnectionResetError(), "closed"),
        (TimeoutError(), "silence"),
    ],
)
async def test_how_an_attempt_ends_early_is_an_answer_too(error: Exception, answer: str):
    async def attempt(_, __):
        raise error

    assert await carry_out(_attack(attempt), TARGET, attempts=1) == Counter([answer])


def test_what_a_good_node_would_not_say_is_found():
    attack = _attack(None, "HTTP 401", "error *")
    answers = Counter({"HTTP 401": 3, "error invalid_value": 2, "HTTP 101": 1, "silence": 4})
    assert attack.unexpected(answers) == Counter({"HTTP 101": 1, "silence": 4})


async def test_attempts_come_from_addresses_of_their_own():
    seen = []

    async def attempt(target, _):
        seen.append(target.source)
        return "x"

    await carry_out(_attack(attempt, addresses=2), TARGET, attempts=4)
    assert len(set(seen)) == 2
    assert "127.0.0.1" not in seen


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
@pytest.mark.parametrize("masked", [True, False])
def test_a_frame_that_breaks_no_rule_is_as_websockets_makes_it(size: int, masked: bool):
    ours = wire.frame(wire.TEXT, b"x" * size, masked=masked)
    theirs = Frame(OP_TEXT, b"x" * size).serialize(mask=masked)
    if masked:  # theirs has a mask of its own: only head and length can be compared
        head = len(ours) - size - 4
        assert (ours[:head], len(ours)) == (theirs[:head], len(theirs))
    else:
        assert ours == theirs


def test_a_leash_without_a_share_holds_nobody():
    assert Leash().wait_s == 0.0


def test_who_has_worked_waits_and_who_has_waited_may_work():
    used, now = [0.0], [0.0]
    leash = Leash(0.25, lambda: used[0], lambda: now[0])
    used[0], now[0] = 0.5, 1.0  # half a second of work at a quarter of a core takes two seconds
    assert leash.wait_s == 1.0
    now[0] = 2.0
    assert leash.wait_s == 0.0


def test_a_long_rest_is_no_leave_for_a_long_burst():
    used, now = [0.0], [0.0]
    leash = Leash(0.25, lambda: used[0], lambda: now[0])
    now[0] = 1000.0
    assert leash.wait_s == 0.0
    used[0] = 1.0
    assert leash.wait_s == 4.0
