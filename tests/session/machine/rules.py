"""An independent little model of the protocol: every rule is a small check with a name.

Written from OpenAI's reference and from what stock clients need, not from the server's code.
"""

from __future__ import annotations

import json
from typing import Any

from tests.protocol.oracle import validate
from tests.protocol.order import ResponseOrder
from tests.session.machine.rule import Rule
from tests.session.machine.rules_of_input import INPUT_RULES
from tests.session.machine.rules_of_replies import REPLY_RULES
from tests.session.machine.rules_of_responses import RESPONSE_RULES
from tests.session.machine.seen import Broken, Request, Seen, brief


class EventIds(Rule):
    """pipecat's receive loop dies without an id, and agents-js drops the event."""

    name = "every event has an id of its own"

    def __init__(self) -> None:
        self._known: set[str] = set()

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        self.require(event["event_id"] not in self._known, event["event_id"])
        self._known.add(event["event_id"])


class Shape(Rule):
    """OpenAI's own types take every event."""

    name = "every event fits OpenAI's types"

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        try:
            validate(seen.text)
        except (AssertionError, ValueError) as error:
            raise Broken(self.name, f"{error} in {brief(event)}") from error


class First(Rule):
    """Some clients do nothing before it."""

    name = "session.created comes first, and once"

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        self.require((event["type"] == "session.created") is not bool(seen.session), event["type"])


class Order(Rule):
    """The sequences 6.1, 6.4, 6.5 and 6.6; tests/protocol/order.py knows them."""

    name = "a response's events come in their order"

    def __init__(self) -> None:
        self._order = ResponseOrder()

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        try:
            self._order.see(event)
        except (AssertionError, KeyError) as error:
            raise Broken(self.name, f"{event['type']}: {error!r}") from error

    def quiet(self, seen: Seen) -> None:
        self.require(self._order.all_over(), f"not done: {self._order.states}")


RULES = (EventIds, Shape, First, Order, *RESPONSE_RULES, *INPUT_RULES, *REPLY_RULES)


class Rules:
    """All rules, and what is known."""

    def __init__(self, without: frozenset[str] = frozenset(), *, words: bool = False) -> None:
        self.seen = Seen(hears_words=words)
        self.rules: list[Rule] = [kind() for kind in RULES if kind.name not in without]
        # most rules only look at some of the three things that happen
        self._at_sent = [rule for rule in self.rules if type(rule).sent is not Rule.sent]
        self._at_received = [rule for rule in self.rules if type(rule).received is not Rule.received]

    def sent(self, request: Request) -> None:
        """The client sends something.

        Raises:
            Broken: a rule does not hold.
        """
        for rule in self._at_sent:
            rule.sent(self.seen, request)
        self.seen.sent(request)

    def received(self, text: str) -> dict[str, Any]:
        """The server sends something; returns it decoded.

        Raises:
            Broken: a rule does not hold.
        """
        event: dict[str, Any] = json.loads(text)
        self.seen.text = text
        for rule in self._at_received:
            rule.received(self.seen, event)
        self.seen.received(event)
        return event

    def quiet(self) -> None:
        """Nothing goes on any more.

        Raises:
            Broken: a rule does not hold.
        """
        for rule in self.rules:
            rule.quiet(self.seen)
