"""Tokens that were good, tokens that never were, and tokens that want to be checked with something else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ed25519
from jwt.algorithms import OKPAlgorithm
from jwt.utils import base64url_encode

from tests.adversary.attack import attack
from tests.adversary.credentials import AUDIENCE, REVOKED_SUBJECT, REVOKED_TOKEN, Credentials
from tests.adversary.target import Target
from tests.adversary.wire import bearer, connected, upgrade
from voiceedge.server.client_secrets import ClientSecrets
from voiceedge.server.grant import Grant

Forge = Callable[[Credentials], str]

REFUSED = "HTTP 401"
"""And never 429: each attempt comes from an address of its own, so that each token is looked at."""
MUST = "401, one answer for whatever is wrong"


async def _bring(target: Target, token: str) -> str:
    """Bring a token in each of the three ways; one that opens is told by its way."""
    ways = (bearer(token), f"api-key: {token}", f"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.{token}")
    for way in ways:
        async with connected(target) as wire:
            await wire.send(upgrade(way))
            answer = await wire.status()
        if answer != REFUSED:
            return f"{answer} to {way[:30]}"
    return answer


def _part(content: Any) -> bytes:
    return base64url_encode(json.dumps(content).encode())


def _hs256(header: dict[str, Any], claims: dict[str, Any], key: bytes) -> str:
    """Signed by hand: the library refuses to sign with a public key."""
    signed = _part(header) + b"." + _part(claims)
    return b".".join([signed, base64url_encode(hmac.digest(key, signed, hashlib.sha256))]).decode()


def _with_header(credentials: Credentials, header: dict[str, Any]) -> str:
    """Signed with the issuer's own key, whatever the header says."""
    signed = _part(header) + b"." + _part(credentials.claims())
    return b".".join([signed, base64url_encode(credentials.key("EdDSA").sign(signed))]).decode()


def _secret_of_yesterday(credentials: Credentials) -> str:
    yesterday = int(time.time()) - 86_400
    return ClientSecrets(credentials.secret, lambda: yesterday).make(_GRANT, 600).value


def _altered_secret(credentials: Credentials) -> str:
    """A good one whose settings are changed, under the old signature."""
    good = ClientSecrets(credentials.secret).make(_GRANT, 600).value
    head, _, signature = good.removeprefix("ek_").split(".")
    now = int(time.time())
    claims = {
        "aud": "voiceedge.client_secret",
        "iat": now,
        "exp": now + 10**9,
        "grant": {"tenant": "a", "subject": "a"},
    }
    payload = zlib.compress(json.dumps(claims).encode(), wbits=-15)
    return f"ek_{head}.{base64url_encode(payload).decode()}.{signature}"


def _deflated_bomb(_: Credentials) -> str:
    """4 KB that would inflate to 4 MB, if anybody inflated what nobody has signed."""
    payload = base64url_encode(zlib.compress(bytes(4 * 1024 * 1024), level=9, wbits=-15)).decode()
    return f"ek_{_part({'alg': 'HS256', 'zip': 'DEF'}).decode()}.{payload}.{'A' * 43}"


_GRANT = Grant(tenant="honest", subject="honest", ends_at=int(time.time()) + 10**6)

REPLAYED: Mapping[str, Forge] = {
    "expired": lambda c: c.sign(exp=int(time.time()) - 3600),
    "not yet good": lambda c: c.sign(nbf=int(time.time()) + 3600),
    "of another audience": lambda c: c.sign(aud="voiceedge-paris"),
    "of no audience": lambda c: c.sign(aud=None),
    "of another issuer": lambda c: c.sign(iss="https://other.example/"),
    "without an end": lambda c: c.sign(exp=None),
    "revoked": lambda c: c.sign(jti=REVOKED_TOKEN),
    "of a revoked subject": lambda c: c.sign(sub=REVOKED_SUBJECT),
    "lost static key": lambda c: c.lost_key,
    "expired client secret": _secret_of_yesterday,
    "altered client secret": _altered_secret,
    "client secret of another node": lambda _: ClientSecrets("z" * 40).make(_GRANT, 600).value,
    "client secret of an open node": lambda c: (
        ClientSecrets(c.secret).make(Grant(tenant="anybody", subject="anybody"), 600).value
    ),
    "inflating client secret": _deflated_bomb,
}


@attack(REFUSED, must=MUST, variants=tuple(REPLAYED))
async def token_replay(target: Target, kind: str) -> str:
    """A token or a client secret past its end, before its beginning, revoked, for somebody else, or altered."""
    return await _bring(target, REPLAYED[kind](target.credentials))


def _none(name: str) -> Forge:
    return lambda c: f"{_part({'alg': name, 'kid': 'EdDSA'}).decode()}.{_part(c.claims()).decode()}."


def _public_as_secret(algorithm: str, *, as_jwk: bool = False) -> Forge:
    def forge(c: Credentials) -> str:
        key = json.dumps(c.public(algorithm)).encode() if as_jwk else c.public_pem(algorithm)
        return _hs256({"alg": "HS256", "kid": algorithm}, c.claims(), key)

    return forge


CONFUSED: Mapping[str, Forge] = {
    "none": _none("none"),
    "None": _none("None"),
    "NONE": _none("NONE"),
    "no algorithm": lambda c: _with_header(c, {"kid": "EdDSA"}),
    "algorithm as a list": lambda c: _with_header(c, {"alg": ["EdDSA"], "kid": "EdDSA"}),
    "algorithm as an object": lambda c: _with_header(c, {"alg": {"EdDSA": 1}, "kid": "EdDSA"}),
    "no signature": lambda c: c.sign().rsplit(".", 1)[0] + ".",
    "HS256 with an RSA key in PEM": _public_as_secret("RS256"),
    "HS256 with an EC key in PEM": _public_as_secret("ES256"),
    "HS256 with an Ed25519 key in PEM": _public_as_secret("EdDSA"),
    "HS256 with a key as JSON": _public_as_secret("RS256", as_jwk=True),
    "HS256 with nothing": lambda c: _hs256({"alg": "HS256", "kid": "RS256"}, c.claims(), b""),
    "HS256 with the client secrets' key": lambda c: _hs256({"alg": "HS256"}, c.claims(), c.secret.encode()),
    "RS256 as ES256's key": lambda c: c.sign("RS256", {"kid": "ES256"}),
    "ES256 as RS256's key": lambda c: c.sign("ES256", {"kid": "RS256"}),
    "PS256": lambda c: jwt.encode(c.claims(), c.key("RS256"), "PS256", headers={"kid": "RS256"}),
    "RS512": lambda c: jwt.encode(c.claims(), c.key("RS256"), "RS512", headers={"kid": "RS256"}),
    "signature of zeros": lambda c: c.sign("ES256").rsplit(".", 1)[0] + "." + "A" * 86,  # CVE-2022-21449
}


@attack(REFUSED, must=MUST, variants=tuple(CONFUSED))
async def algorithm_confusion(target: Target, kind: str) -> str:
    """A token without a signature, or signed with another algorithm than its key's, such as HS256 with a public key."""
    return await _bring(target, CONFUSED[kind](target.credentials))


KEY_IDS: Mapping[str, Any] = {
    "path": "../../../../../../dev/null",
    "file": "/etc/hostname",
    "SQL": "EdDSA' UNION SELECT 'AAAA' --",
    "command": "EdDSA; sleep 20 #",
    "URL": "http://127.0.0.1:9/keys",
    "NUL": "EdDSA\x00",
    "long": "x" * 3_000,
    "half a character": "\ud800",
    "number": 7,
    "list": ["EdDSA"],
    "object": {"EdDSA": 1},
    "empty": "",
    "unknown": "key-2",
}


@attack(REFUSED, must=MUST, variants=tuple(KEY_IDS))
async def key_id_injection(target: Target, kind: str) -> str:
    """A token whose key id is a path, SQL, a command, a URL, 3,000 letters long, or no text at all."""
    return await _bring(target, _with_header(target.credentials, {"alg": "EdDSA", "kid": KEY_IDS[kind]}))


def _brought(_: Credentials) -> tuple[Any, dict[str, Any]]:
    """A key of the attacker's, and the same as a JWK that calls itself the issuer's."""
    mine = ed25519.Ed25519PrivateKey.generate()
    return mine, {**OKPAlgorithm.to_jwk(mine.public_key(), as_dict=True), "kid": "EdDSA"}


BROUGHT: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "jwk": lambda jwk: {"jwk": jwk},
    "jku": lambda _: {"jku": "http://127.0.0.1:9/keys"},
    "x5u": lambda _: {"x5u": "file:///etc/passwd"},
    "x5c": lambda jwk: {"x5c": [base64.b64encode(json.dumps(jwk).encode()).decode()]},
    "crit": lambda _: {"crit": ["exp"], "exp": 1},
    "b64": lambda _: {"crit": ["b64"], "b64": False},
}


@attack(REFUSED, must="401, and no address of a token's is asked", variants=tuple(BROUGHT))
async def brought_key(target: Target, kind: str) -> str:
    """A token that brings the key it is signed with: as `jwk`, `x5c`, or by the address in `jku` or `x5u`."""
    mine, jwk = _brought(target.credentials)
    header = {"kid": "EdDSA", **BROUGHT[kind](jwk)}
    signed = _part({"alg": "EdDSA", **header}) + b"." + _part(target.credentials.claims())
    return await _bring(target, b".".join([signed, base64url_encode(mine.sign(signed))]).decode())


_DEEP = base64url_encode(b'{"iss":' + b"[" * 4_000 + b"]" * 4_000 + b"}").decode()

SHAPES: Mapping[str, Forge] = {
    "dots": lambda _: "." * 1_000,
    "two parts": lambda c: c.sign().rsplit(".", 1)[0],
    "four parts": lambda c: c.sign() + ".AAAA",
    "encrypted": lambda c: c.sign() + ".AAAA.AAAA",
    "deep": lambda _: f"{_part({'alg': 'EdDSA', 'kid': 'EdDSA'}).decode()}.{_DEEP[:5_000]}.{'A' * 86}",
    "deep header": lambda _: f"{_DEEP[:5_000]}.e30.AAAA",
    "infinite end": lambda c: c.sign(exp=float("inf")),
    "end as text": lambda c: c.sign(exp="9999999999"),
    "no end of a name": lambda c: c.sign(sub="x" * 2_000),
    "other audience too": lambda c: c.sign(aud={"a": AUDIENCE}),
    "more sessions than none": lambda c: c.sign(voiceedge={"sessions": 0}),
    "settings as text": lambda c: c.sign(voiceedge={"session": "Sell."}),
    "a static key that is none": lambda _: "ve_" + "A" * 43,
    "a static key of 4 KB": lambda _: "ve_" + "A" * 4_000,
    "a hash instead of the key": lambda c: "ve_" + hashlib.sha256(c.hostile_key.encode()).hexdigest(),
}


@attack(REFUSED, must=MUST, variants=tuple(SHAPES))
async def odd_tokens(target: Target, kind: str) -> str:
    """A token with too many parts, of great depth, with claims of other types, or a key that is none."""
    return await _bring(target, SHAPES[kind](target.credentials))
