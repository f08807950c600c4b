"""Whether the configured certificate would be taken by a client: whose it is, and until when."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from voiceedge.doctor.finding import Finding
from voiceedge.errors import ConfigError
from voiceedge.trace import epoch_s

NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME (x509_vfy.h), which Python has no name for: what has expired is read, too."""
SOON_DAYS = 14
"""Who renews automatically does it a month before: at two weeks it has failed for a while."""
DAY_S = 24 * 60 * 60
FLIGHTS = 8
"""More than a handshake takes: three of TLS 1.3, four of 1.2."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a client sees of it."""

    names: tuple[str, ...]
    begins_s: int
    """Seconds since 1970."""
    ends_s: int
    ends: str
    """The same as the certificate writes it."""


def tls_findings(
    chain: Path | None, context: Callable[[], ssl.SSLContext | None], wall: Callable[[], int] = epoch_s
) -> list[Finding]:
    """What is to be said about TLS.

    Args:
        chain: the certificate's file; None where TLS is not configured.
        context: makes what the port is wrapped in, as the server does; raises ConfigError where it cannot.
        wall: seconds since 1970.
    """
    try:
        server = context()
        if server is None or chain is None:
            return [Finding("tls", "ok", "not configured: the port speaks plain HTTP")]
        found = certificate(server, chain)
    except ConfigError as error:
        return [Finding("tls", "problem", str(error), "See the settings tls_certificate and tls_key.")]
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", None) or (error.reason or str(error)).replace("_", " ").lower()
        return [Finding("tls", "problem", f"{chain} is read, but no client would take it: {reason}", "Replace it.")]
    return [_judged(found, chain.name, wall())]


def _judged(found: Certificate, name: str, moment_s: int) -> Finding:
    days = (found.ends_s - moment_s) // DAY_S
    text = f"{name} fits its key; for {', '.join(found.names) or 'no name'}; until {found.ends}"
    if found.begins_s > moment_s:
        return Finding("tls", "problem", f"{text}; not valid yet", "Look at the clock, or wait.")
    if days < 0:
        return Finding("tls", "problem", f"{text}; it has expired", "Renew it.")
    if not found.names:
        return Finding("tls", "problem", text, "Clients only look at subjectAltName: have one put into it.")
    if days < SOON_DAYS:
        return Finding("tls", "warning", f"{text}, in {days} day{'' if days == 1 else 's'}", "Renew it.")
    return Finding("tls", "ok", text)


def certificate(server: ssl.SSLContext, chain: Path) -> Certificate:
    """Shake hands with `server` in memory, as a client that trusts just what is in `chain`, and read what it is shown.

    Raises:
        ssl.SSLError: they do not agree.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False  # it is not known yet what it is called
    client.load_verify_locations(chain)
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(NO_CHECK_TIME)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    caller, called = client.wrap_bio(down, up), server.wrap_bio(up, down, server_side=True)
    for _ in range(FLIGHTS):
        for side in (caller, called):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue  # the other side's turn
    shown = caller.getpeercert() or {}
    begins, ends = str(shown["notBefore"]), str(shown["notAfter"])
    alternatives = cast("tuple[tuple[str, str], ...]", shown.get("subjectAltName", ()))
    names = tuple(name for _, name in alternatives)
    return Certificate(names, int(ssl.cert_time_to_seconds(begins)), int(ssl.cert_time_to_seconds(ends)), ends)
