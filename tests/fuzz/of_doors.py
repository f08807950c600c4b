"""What decides who comes in: tokens, key sets, client secrets, files of keys and of names, headers, bodies."""

from __future__ import annotations

import asyncio
import json
import zlib
from functools import cache
from ipaddress import ip_network
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from jwt.algorithms import ECAlgorithm, OKPAlgorithm
from jwt.utils import base64url_encode

from tests.fuzz.target import Bytes, Page, Target, at_once, edited_json
from voiceedge.errors import CallerError, ConfigError, Forbidden, Unauthorised
from voiceedge.server.address import UNKNOWN, Proxies, read_proxies
from voiceedge.server.api_keys import ApiKeys, hashed
from voiceedge.server.auth import Door
from voiceedge.server.client_secrets import ALGORITHM, ClientSecrets
from voiceedge.server.grant import Grant
from voiceedge.server.jwks import InvalidKeySet, Jwks, read_key_set
from voiceedge.server.mint import _decoded
from voiceedge.server.revoked import Revoked
from voiceedge.server.tokens import Tokens

NOW = 1_800_000_000
SECRET = "a secret of the fuzzer, thirty-two bytes long"
ISSUER, AUDIENCE = "https://issuer.example/", "voiceedge"
ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
P256 = ec.derive_private_key(0x5EED, ec.SECP256R1())
RSA = {"kty": "RSA", "kid": "rsa", "e": "AQAB", "n": base64url_encode(b"\xc5" * 255 + b"\x01").decode()}
KEYS = {
    "keys": [
        {**OKPAlgorithm.to_jwk(ED25519.public_key(), as_dict=True), "kid": "ed", "use": "sig"},
        {**ECAlgorithm.to_jwk(P256.public_key(), as_dict=True), "kid": "ec", "alg": "ES256"},
        RSA,
        {"kty": "oct", "k": "c2VjcmV0", "kid": "oct"},
    ]
}
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": [AUDIENCE, "other"],
    "sub": "user-1",
    "exp": NOW + 60.5,
    "nbf": NOW,
    "jti": "t-1",
    "voiceedge": {"tenant": "shop", "sessions": 2, "seconds": 90, "session": {"instructions": "Sell."}},
}
HEADER = {"alg": "EdDSA", "kid": "ed", "typ": "JWT"}
SECRET_CLAIMS: dict[str, Any] = {
    "aud": "voiceedge.client_secret",
    "iat": NOW,
    "exp": NOW + 600,
    "grant": {"tenant": "shop", "subject": "shop-7", "updates": [{"instructions": "Sell."}], "seconds": 5},
}
WORDS = (
    "alg", "kid", "typ", "none", "HS256", "RS256", "ES256", "EdDSA", "ed", "ec", "rsa", "oct", "jku", "x5u", "jwk",
    "crit", "zip", "b64", "cty", "kty", "OKP", "EC", "RSA", "crv", "Ed25519", "Ed448", "P-256", "P-521", "x", "y", "n",
    "e", "d", "k", "use", "sig", "enc", "keys", *CLAIMS, "iat", "tenant", "sessions", "seconds", "session", "grant",
    "subject", "updates", "ends_at",
)  # fmt: skip


@cache
def _tokens() -> Tokens:
    """Checks tokens with three public keys, none of which it would ask for again."""
    keys = Jwks(json.dumps(KEYS).encode, "the fuzzer", clock=lambda: 0.0)
    asyncio.run(keys.key("ed"))
    return Tokens(keys, issuer=ISSUER, audience=AUDIENCE, algorithms=("EdDSA", "ES256", "RS256"), clock=lambda: NOW)


@cache
def _shared() -> Tokens:
    """Checks tokens that are signed with a secret: signing many costs little."""
    return Tokens(SECRET.encode(), issuer=ISSUER, audience=AUDIENCE, algorithms=("HS256",), clock=lambda: NOW)


@cache
def _secrets() -> ClientSecrets:
    return ClientSecrets(SECRET, clock=lambda: NOW)


def _signed(payload: bytes, header: dict[str, Any]) -> str:
    return jwt.PyJWS().encode(payload, SECRET.encode(), "HS256", headers=header)


def token(data: bytes) -> None:
    """Any text as a token."""
    at_once(_tokens().grant(data.decode("utf-8", "surrogateescape")))


def forged(data: bytes) -> None:
    """A token without a good signature, whose header is nearly right; the first byte says how long that is."""
    size = data[0] if data else 0
    header = edited_json([HEADER], WORDS, data[1 : 1 + size])
    parts = [base64url_encode(part).decode() for part in (header, json.dumps(CLAIMS).encode(), data[1 + size :])]
    at_once(_tokens().grant(".".join(parts)))
    raise AssertionError("it was taken")


def token_header(data: bytes) -> None:
    """A token without a good signature, with any bytes as its header."""
    parts = (base64url_encode(part).decode() for part in (data, json.dumps(CLAIMS).encode(), b"signature"))
    at_once(_tokens().grant(".".join(parts)))
    raise AssertionError("it was taken")


def claims(data: bytes) -> None:
    """A token that is well signed, and says nearly the right thing."""
    grant = at_once(_shared().grant(_signed(edited_json([CLAIMS], WORDS, data), {"typ": "JWT"})))
    assert grant.ends_at is not None
    assert grant.ends_at > NOW
    _handed_on(grant)


def key_set(data: bytes) -> None:
    """Any bytes as a key set."""
    assert read_key_set(data)


def edited_key_set(data: bytes) -> None:
    """A key set that is nearly right."""
    assert read_key_set(edited_json([KEYS, {"keys": KEYS["keys"][:1]}], WORDS, data))


def client_secret(data: bytes) -> None:
    """Any text as a client secret."""
    _secrets().grant("ek_" + data.decode("latin-1"))


def client_secret_claims(data: bytes) -> None:
    """One that is well signed."""
    payload = zlib.compress(edited_json([SECRET_CLAIMS], WORDS, data), 1, wbits=-15)
    _handed_on(
        _secrets().grant("ek_" + jwt.PyJWS().encode(payload, SECRET.encode(), ALGORITHM, headers={"zip": "DEF"}))
    )


def _handed_on(grant: Grant) -> None:
    """What was granted can be granted to others."""
    made = _secrets().make(grant, 60)
    assert _secrets().grant(made.value).tenant == grant.tenant


_KEYS_FILE = Page("keys.toml")
_NAMES_FILE = Page("revoked.txt")
KEYS_TOML = (
    f'[[key]]\nname = "shop-7"\nsha256 = "{hashed("ve_x")}"\nsessions = 2\n[[key]]\nname = "b"\nsha256 = "{"0" * 64}"\n'
)


def api_keys(data: bytes) -> None:
    """A file of static keys."""
    known = ApiKeys(_KEYS_FILE.of(data))
    try:
        grant = known.grant("ve_x")
    except Unauthorised:
        return
    assert grant.key_hash is not None
    assert known.knows(grant.key_hash)


def revoked(data: bytes) -> None:
    """A list of what is not good any more."""
    names = Revoked(_NAMES_FILE.of(data))
    assert not names.names(Grant(tenant="a", subject=" spaces "))


def headers(data: bytes) -> None:
    """The headers of a handshake: a line each, the first one the subprotocols."""
    first, *lines = data.decode("latin-1").split("\n")
    pairs = [line.partition(":") for line in lines]
    at_once(_door().grant({name.strip().lower(): value.strip() for name, _, value in pairs}, first.split(",")))


@cache
def _door() -> Door:
    keys = ApiKeys(Page("keys.toml").of(KEYS_TOML.encode()))
    return Door(_secrets(), api_keys=keys, tokens=_tokens())


def origin(data: bytes) -> None:
    """Where a page says it comes from, and the name it asks for, at a node that is open."""
    where, _, host = data.decode("latin-1").partition("\n")
    for is_local in (True, False):
        door = Door(_secrets(), is_local=is_local)
        at_once(door.grant({"origin": where, "host": host}))


def body(data: bytes) -> None:
    """The body of a request for a client secret."""
    assert isinstance(_decoded(data), dict)


def forwarded(data: bytes) -> None:
    """Who a proxy says it speaks for: lines of X-Forwarded-For; the first byte says who connects."""
    choices = Bytes(data[:1])
    peer = choices.one_of(("10.0.0.1", "192.0.2.1", "::1", "fe80::1%eth0", "2001:db8::1", "/run/socket"))
    lines = [(b"x-forwarded-for", line) for line in data[1:].split(b"\n")]
    scope = {"type": "http", "client": (peer, 1), "headers": lines}
    found = _PROXIES.client(scope)
    assert found == UNKNOWN or ip_network(found)
    if not _PROXIES.is_proxy(scope):
        assert found == _PROXIES.client({**scope, "headers": []}), "anybody could choose an address"


def proxies(data: bytes) -> None:
    """The proxies that an operator names."""
    read_proxies(data.decode("utf-8", "replace")).client({"client": ("::1", 1), "headers": []})


_PROXIES = Proxies((ip_network("10.0.0.0/8"), ip_network("::1/128")))
_REFUSED = (Unauthorised,)
_HEADER = json.dumps(HEADER).encode()
_EDITS = (b"", b"\x01\x02\x03\x04", bytes(range(0, 96, 3)))
_GOOD = _secrets().make(Grant(tenant="shop", subject="shop-7"), 60).value
TARGETS = (
    Target(
        "token",
        token,
        _REFUSED,
        (jwt.encode(CLAIMS, ED25519, "EdDSA", headers={"kid": "ed"}).encode(), b"a.b.c"),
    ),
    Target("forged token", forged, _REFUSED, (b"", b"\x04abcdsignature"), max_bytes=400, takes_seeds=False),
    Target("token's header", token_header, _REFUSED, (_HEADER, b"[" * 2000), WORDS, takes_seeds=False),
    Target("claims", claims, _REFUSED, _EDITS, max_bytes=256),
    Target("key set", key_set, (InvalidKeySet,), (json.dumps(KEYS).encode(),), WORDS),
    Target("edited key set", edited_key_set, (InvalidKeySet,), _EDITS, max_bytes=256),
    Target("client secret", client_secret, _REFUSED, (_GOOD.removeprefix("ek_").encode(), b"a.b.c")),
    Target("client secret's claims", client_secret_claims, (CallerError,), _EDITS, max_bytes=256),
    Target("api keys", api_keys, (ConfigError,), (KEYS_TOML.encode(),), ("[[key]]", "sha256", "tenant", "seconds")),
    Target("revoked", revoked, (ConfigError,), (b"jti-1\nuser # gone\n# all\na#b",)),
    Target(
        "headers", headers, (CallerError,), (b"realtime\nAuthorization: Bearer ve_x\nOrigin: http://a", _GOOD.encode())
    ),
    Target(
        "origin", origin, (Forbidden,), (b"http://localhost:8080\nlocalhost", b"https://[::1]:1\n[::1]:1", b"null\n")
    ),
    Target(
        "request body", body, (CallerError,), (b'{"session": {"type": "realtime"}, "expires_after": {"seconds": 60}}',)
    ),
    Target("forwarded", forwarded, (), (b"\x00192.0.2.7, 10.1.2.3", b"\x02[2001:db8::1]:80\n1.2.3.4:5"), max_bytes=512),
    Target(
        "proxies",
        proxies,
        (ConfigError,),
        (b"10.0.0.7, 10.1.0.0/16, 2001:db8::/32", b"::ffff:10.0.0.0/104"),
        max_bytes=128,
    ),
)
