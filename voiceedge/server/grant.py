"""What somebody may do here, whichever way they have shown who they are."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

Name = Annotated[str, Meta(min_length=1, max_length=128)]
Count = Annotated[int, Meta(ge=1)]


class Limits(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a key or a token may say of its tenant's limits: narrower than the node's own, never wider."""

    sessions: Count | None = None
    """Conversations of the tenant at a time."""
    seconds: Count | None = None
    """Longest conversation."""
    sessions_an_hour: Count | None = None
    """Conversations that the tenant may begin in an hour."""
    audio_seconds_an_hour: Count | None = None
    """Seconds of audio that they may send in an hour."""
    messages_an_hour: Count | None = None
    """Messages that they may send in an hour."""
    bytes_an_hour: Count | None = None
    """Bytes that these may have together."""

    def limits(self) -> dict[str, Any]:
        """Those that are stated, by name: whole numbers."""
        stated = {name: getattr(self, name) for name in Limits.__struct_fields__}
        return {name: limit for name, limit in stated.items() if limit is not None}


class Grant(Limits, frozen=True, omit_defaults=True):
    """Who somebody is, and what they may do."""

    tenant: Name
    """Who pays: limits of tenants are counted under it."""
    subject: Name
    """Who it is, for the log."""
    token_id: Name | None = None
    """By which it can be revoked."""
    key_hash: str | None = None
    """Of the static key that it was given for, and is good as long as; None for any other."""
    ends_at: int | None = None
    """When their sessions end, seconds since 1970; None where only their length counts."""
    updates: tuple[dict[str, Any], ...] = ()
    """What their sessions begin with: each as in a session.update, one after the other."""
    is_ephemeral: bool = False
    """Came with a client secret, which opens sessions and nothing else."""


ANYBODY = Grant(tenant="anybody", subject="anybody")
"""Where no key is asked for."""
