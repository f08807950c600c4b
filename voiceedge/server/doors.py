"""Builds the node's door from its settings, and refuses to leave one open by mistake."""

from __future__ import annotations

import re
from typing import cast

from voiceedge.config import Config
from voiceedge.errors import ConfigError
from voiceedge.server.address import is_loopback, read_proxies
from voiceedge.server.api_keys import ApiKeys
from voiceedge.server.auth import Door
from voiceedge.server.client_secrets import ClientSecrets
from voiceedge.server.jwks import Jwks, source
from voiceedge.server.revoked import Revoked
from voiceedge.server.tokens import ALGORITHMS, Algorithm, Tokens

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]+)?/?", re.IGNORECASE | re.ASCII)
_UNSAID = frozenset({"http:80", "https:443"})
"""Ports that no browser names."""


def make_door(config: Config) -> Door:
    """Put together who may come in.

    Raises:
        ConfigError: settings that contradict one another, or a file of keys that cannot be read.
    """
    return Door(
        ClientSecrets(config.secret),
        api_keys=None if config.api_keys is None else ApiKeys(config.api_keys),
        tokens=_tokens(config),
        revoked=None if config.revoked is None else Revoked(config.revoked),
        origins=_origins(config.origins),
        is_local=is_loopback(config.host),
        proxies=read_proxies(config.proxies),
    )


def check_reach(host: str, door: Door, *, is_meant: bool) -> None:
    """Refuse to let anybody in whom the network lets through, unless that is meant.

    Raises:
        ConfigError: it is not.
    """
    if door.is_open and not is_meant and not is_loopback(host):
        raise ConfigError(
            f"Whoever reaches {host} could talk here, because no key is asked for: set api_keys or auth_keys (see "
            "`voiceedge token --help`), or say --open-to-all."
        )


def _origins(stated: str) -> tuple[str, ...]:
    """Those that are stated, as browsers spell them: another spelling would match none of their pages."""
    origins = _listed(stated)
    if stated and not origins:
        raise ConfigError("Setting 'origins' names none.")
    for origin in origins:
        found = _ORIGIN.fullmatch(origin)
        if found is None or f"{found[1].lower()}{found[3] or ''}" in _UNSAID:
            raise ConfigError(
                f"Setting 'origins' names {origin!r}, which no page comes from: write scheme://host or "
                "scheme://host:port, without http's port 80 and https's 443, and other letters as xn--…."
            )
    return origins


def _tokens(config: Config) -> Tokens | None:
    algorithms = _algorithms(config.auth_algorithms)
    stated = {"auth_keys": config.auth_keys, "auth_secret": config.auth_secret}
    given = (*stated.values(), config.auth_issuer, config.auth_audience)
    if all(value is None for value in given) and config.auth_algorithms == Config().auth_algorithms:
        return None
    is_shared = algorithms == ("HS256",)
    wanted, unwanted = ("auth_secret", "auth_keys") if is_shared else ("auth_keys", "auth_secret")
    if stated[unwanted] is not None:
        raise ConfigError(f"Setting '{unwanted}' does not go with auth_algorithms {config.auth_algorithms!r}.")
    missing = [
        name
        for name, value in (
            (wanted, stated[wanted]),
            ("auth_issuer", config.auth_issuer),
            ("auth_audience", config.auth_audience),
        )
        if not value
    ]
    if missing:
        raise ConfigError(f"Tokens cannot be checked without {' and '.join(missing)}.")
    keys: Jwks | bytes
    if is_shared:
        keys = str(config.auth_secret).encode()
    else:
        location = str(config.auth_keys)
        keys = Jwks(source(location), location)
    issuer, audience = str(config.auth_issuer), str(config.auth_audience)
    return Tokens(keys, issuer=issuer, audience=audience, algorithms=algorithms)


def _algorithms(stated: str) -> tuple[Algorithm, ...]:
    named = _listed(stated)
    if unknown := [name for name in named if name not in ALGORITHMS]:
        raise ConfigError(f"Setting 'auth_algorithms' names {', '.join(unknown)}: there are {', '.join(ALGORITHMS)}.")
    if not named or ("HS256" in named and len(named) > 1):
        # where both are allowed, a public key may be passed off as the secret (CVE-2016-10555)
        raise ConfigError("Setting 'auth_algorithms' names algorithms with public keys, or HS256 alone.")
    return cast("tuple[Algorithm, ...]", named)


def _listed(stated: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in stated.split(",") if name.strip())
