"""Who knocks with bad keys, by address: a token bucket each, so that mistakes are free and floods are not.

Pure arithmetic on moments of one clock.
"""

from __future__ import annotations

from collections import OrderedDict

from voiceedge.server.bucket import TokenBucket

BURST = 30
"""Bad keys that an address may bring at once. A shop or a whole mobile network has one address: when a token has run
out, all who hold it knock at the same time."""
PER_S = 0.5
"""And so many a second from then on: to look at a token costs 0.2 ms."""
MAX_ADDRESSES = 10_000
"""That are remembered, in 3 MB; then the one that has brought none for longest is forgotten."""


class BadKeys:
    """Remembers who has brought bad keys lately."""

    def __init__(self) -> None:
        self._addresses: OrderedDict[str, TokenBucket] = OrderedDict()

    def count(self, address: str, at: float) -> None:
        """A bad key came from there and was looked at, at the moment `at` in seconds."""
        bucket = self._addresses.pop(address, None) or TokenBucket(PER_S, BURST, at)
        bucket.take(1, at)
        self._addresses[address] = bucket
        if len(self._addresses) > MAX_ADDRESSES:
            self._addresses.popitem(last=False)

    def wait_s(self, address: str, at: float) -> float:
        """Seconds until a key from there is looked at again; 0 for who may try."""
        bucket = self._addresses.get(address)
        return 0.0 if bucket is None else max(bucket.wait_s(at), 0.0)
