"""What a rule is."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from tests.session.machine.seen import Broken, Request, Seen


class Rule:
    """One rule of the protocol. `seen` is what was known before the event."""

    name: ClassVar[str]

    def sent(self, seen: Seen, request: Request) -> None:
        """The client sends something."""

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        """The server sends something."""

    def quiet(self, seen: Seen) -> None:
        """Nothing goes on any more, and nothing has for minutes."""

    def broken(self, detail: str) -> NoReturn:
        """Say that this rule does not hold."""
        raise Broken(self.name, detail)

    def require(self, holds: Any, detail: str) -> None:
        """Say that this rule does not hold, if it does not."""
        if not holds:
            self.broken(detail)
