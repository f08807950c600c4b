"""What is wrong with what a client was sent, and what was sent altogether."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from tests.protocol.order import ResponseOrder
from voiceedge.errors import Overloaded

KEPT = 50
"""Findings of a kind that are kept word for word; all are counted."""
LATEST = 60
"""Messages of a session that a finding tells of."""
RACES = frozenset(
    {
        "response_cancel_not_active",
        "conversation_already_has_active_response",
        "input_audio_buffer_commit_empty",
        "item_delete_invalid_item_id",
        "item_retrieve_invalid_item_id",
        "item_create_invalid_previous_item_id",
        "item_truncate_invalid_item_id",
    }
)
"""Errors that tell a client that it came too late or too early: no fault of anybody."""
ASKED_FOR = frozenset({"invalid_json", "invalid_value", "missing_required_parameter", "too_many_responses"})
"""Errors that a client asks for, by what it sends."""


@dataclass
class Ledger:
    """Of all conversations together."""

    sessions: int = 0
    affected: set[str] = field(default_factory=set)
    """Sessions that were not marked and had a failed turn, or none where there had to be one."""
    created: int = 0
    done: Counter[str] = field(default_factory=Counter)
    """Responses by status."""
    left_open: int = 0
    """Responses whose client went away before they were done."""
    acts: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    """Handshakes, by what was answered."""
    errors: Counter[str] = field(default_factory=Counter)
    """Error events, by code."""
    faults: Counter[str] = field(default_factory=Counter)
    """Failed turns of those who are marked, by code."""
    found: Counter[str] = field(default_factory=Counter)
    """What must not be, by kind."""
    findings: list[str] = field(default_factory=list)

    def find(self, kind: str, text: str) -> None:
        """Put down what must not be."""
        self.found[kind] += 1
        if self.found[kind] <= KEPT:
            self.findings.append(f"{kind}: {text}")


class Page:
    """Of one session."""

    def __init__(self, ledger: Ledger, name: str, *, is_marked: bool) -> None:
        self._ledger = ledger
        self._name = name
        self._is_marked = is_marked
        self._order = ResponseOrder()
        self.open: set[str] = set()
        """Responses that were created and are not done."""
        self.is_broken = False
        """Whether the order of events was violated: what comes then says nothing more."""
        self._latest: deque[str] = deque(maxlen=LATEST)
        ledger.sessions += 1

    def sent(self, kind: str) -> None:
        """Note what the client has said."""
        self._keep(f"> {kind}")

    def see(self, event: dict[str, Any]) -> None:
        """Take the next event."""
        self._note(event)
        match event["type"]:
            case "response.created":
                self._ledger.created += 1
                self.open.add(event["response"]["id"])
            case "response.done":
                self._done(event["response"])
            case "error":
                self._error(event["error"])
        if not self.is_broken:
            try:
                self._order.see(event)
            except (AssertionError, KeyError) as error:
                self.is_broken = True
                self._ledger.find("order", f"{self._name}: {event['type']}: {error}")

    def _note(self, event: dict[str, Any]) -> None:
        """Keep the event among the latest; of many pieces of audio in a row one."""
        said = f"< {event['type']}"
        if (response := event.get("response")) is not None:
            said += f" {response.get('id')} {response.get('status')} in {response.get('conversation_id')}"
        self._keep(said)

    def _keep(self, said: str) -> None:
        if not (said.endswith((".delta", ".append")) and self._latest and self._latest[-1] == said):
            self._latest.append(said)

    def _done(self, response: dict[str, Any]) -> None:
        name, status = response["id"], response["status"]
        self._ledger.done[status] += 1
        if name not in self.open:
            self._ledger.find("done twice or never created", f"{self._name}: {name} {status}")
        self.open.discard(name)
        if status == "failed":
            error = (response.get("status_details") or {}).get("error") or {}
            if response.get("conversation_id") is None and error.get("code") == Overloaded.wire_code:
                self._ledger.refused["aside"] += 1  # a node makes two at a time, and nobody waits for long
            else:
                self._fail(str(error.get("code")), str(error.get("message") or error))

    def _fail(self, code: str, message: str) -> None:
        if self._is_marked:
            self._ledger.faults[code] += 1
        else:
            self.affect(f"a turn failed: {code}: {message}")

    def _error(self, error: dict[str, Any]) -> None:
        code = str(error.get("code"))
        self._ledger.errors[code] += 1
        if code in RACES or code in ASKED_FOR or str(error.get("type")) == "rate_limit_error":
            return
        self._fail(code, str(error.get("message")))

    def affect(self, text: str) -> None:
        """Put down that something happened to a session that nothing should have happened to."""
        self._ledger.affected.add(self._name)
        self._ledger.find("affected", f"{self._name}: {text}")

    def expected(self, text: str) -> None:
        """Put down that something did not come that a session which is not marked can count on."""
        if self._is_marked:
            self._ledger.faults["nothing came"] += 1
        else:
            self.affect(text)

    def find_endless(self) -> None:
        """Put down that its client has waited for what was created, and it is not done."""
        self._ledger.find("created and never done", f"{self._name}: {sorted(self.open)}; {', '.join(self._latest)}")

    def close(self) -> None:
        """The session is over."""
        self._ledger.left_open += len(self.open)
