"""What the answers of one session cost, and how much they may."""

from __future__ import annotations

from voiceedge.errors import Refused
from voiceedge.session.allowance import Allowance


class Spending:
    """Tokens that were written for one session."""

    def __init__(self, limit: int, allowance: Allowance) -> None:
        """`limit` is for the whole session, 0 for none; `allowance` learns of every answer."""
        self._limit = limit
        self._allowance = allowance
        self._tokens = 0

    @property
    def is_over(self) -> bool:
        """Whether no more may be written."""
        return bool(self._limit) and self._tokens >= self._limit

    def check(self) -> None:
        """Let another answer begin. One that goes beyond the limit comes to its own end: that is bounded as well.

        Raises:
            Refused: there is nothing left.
        """
        if self.is_over:
            raise Refused(
                f"The answers of this session may have {self._limit} tokens and have had {self._tokens}.",
                code="session_tokens_reached",
            )

    def took(self, count: int) -> None:
        """So many were written for an answer that is over."""
        self._tokens += count
        self._allowance.tokens(count)
