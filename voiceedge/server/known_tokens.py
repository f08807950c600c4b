"""Tokens that were good here: whoever brings one again is no stranger, whatever else comes from the same address."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256

MAX_TOKENS = 10_000
"""That are remembered, in 2 MB; then the one that was not brought for longest is forgotten."""


class KnownTokens:
    """Remembers tokens by their SHA-256. That one is known does not make it good: it is judged each time."""

    def __init__(self) -> None:
        self._tokens: OrderedDict[bytes, None] = OrderedDict()

    def __contains__(self, token: str) -> bool:
        return _hashed(token) in self._tokens

    def remember(self, token: str) -> None:
        """It was good."""
        known = _hashed(token)
        self._tokens[known] = None
        self._tokens.move_to_end(known)
        if len(self._tokens) > MAX_TOKENS:
            self._tokens.popitem(last=False)

    def forget(self, token: str) -> None:
        """It is good no more: its time is over, or it was revoked."""
        self._tokens.pop(_hashed(token), None)


def _hashed(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
