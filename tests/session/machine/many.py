"""Many sequences, one after the other, and what came up in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.session.machine.moves import FEATURES, Feature, Script, scripts
from tests.session.machine.play import play
from voiceedge.conversation.events import Action, Event
from voiceedge.conversation.state import Conversation, State


@dataclass(slots=True)
class Tally:
    """What came up."""

    sequences: int = 0
    sent: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)
    visited: Counter[tuple[State, Event]] = field(default_factory=Counter)
    """Pairs of state and event that conversation/state.py was asked about."""


def hold(
    count: int,
    number: int,
    tally: Tally,
    features: frozenset[Feature] = FEATURES,
    without: frozenset[str] = frozenset(),
) -> None:
    """Play so many sequences; `number` is the seed that they are drawn with.

    Raises:
        Violation: a rule does not hold in one of them, made as short as it gets.
    """

    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,  # a machine that is busy is no fault
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        print_blob=False,
    )
    @given(script=scripts(features))
    def rules_hold(script: Script) -> None:
        played = play(script, without=without)
        tally.sequences += 1
        tally.sent.update(played.sent)
        tally.received.update(event["type"] for event in played.received())

    with _visits(tally.visited):
        rules_hold()


@contextmanager
def _visits(visited: Counter[tuple[State, Event]]) -> Iterator[None]:
    """Count what the state machine is asked; this is no rule, so it may look inside."""
    receive = Conversation.receive

    def counted(self: Conversation, event: Event) -> tuple[Action, ...]:
        visited[self.state, event] += 1
        return receive(self, event)

    Conversation.receive = counted  # type: ignore[method-assign]
    try:
        yield
    finally:
        Conversation.receive = receive  # type: ignore[method-assign]
