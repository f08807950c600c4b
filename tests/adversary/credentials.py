"""Keys and tokens of a node that is attacked: the good ones, and what it takes to forge others."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from voiceedge.server.api_keys import hashed, make_key

ISSUER, AUDIENCE = "https://issuer.example/", "voiceedge-target"
ORIGIN = "https://app.example"
"""The only page that may connect."""
REVOKED_TOKEN, REVOKED_SUBJECT = "token-13", "mallory"
HOSTILE_SESSIONS = 4
"""That the key of an attacker may have at a time: he is a customer like others."""
_JWK: dict[str, Any] = {"EdDSA": OKPAlgorithm, "ES256": ECAlgorithm, "RS256": RSAAlgorithm}


@dataclass(frozen=True)
class Credentials:
    """What the attackers of these tests know; real ones know less."""

    honest_key: str
    hostile_key: str
    """Good, and in bad hands."""
    lost_key: str
    """Was good once: its entry has been taken out of the file."""
    secret: str
    """Signs client secrets."""
    private: dict[str, str]
    """The issuer's keys in PEM, by the algorithm they sign with, which is their key id as well."""

    @classmethod
    def make(cls) -> Credentials:
        """New ones."""
        keys: dict[str, Any] = {
            "EdDSA": ed25519.Ed25519PrivateKey.generate(),
            "ES256": ec.generate_private_key(ec.SECP256R1()),
            "RS256": rsa.generate_private_key(65537, 2048),
        }
        plain = serialization.NoEncryption()
        private = {
            name: key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()
            for name, key in keys.items()
        }
        return cls(make_key(), make_key(), make_key(), make_key(), private)

    @classmethod
    def load(cls, file: Path) -> Credentials:
        """Those that `save` wrote."""
        return cls(**json.loads(file.read_text("utf-8")))

    def save(self, file: Path) -> None:
        """Write them down for another process."""
        file.touch(mode=0o600)
        file.write_text(json.dumps(asdict(self)), "utf-8")

    def settings(self, folder: Path) -> dict[str, Any]:
        """Write the files of a node that asks for them, and return its settings."""
        keys, issuer, revoked = folder / "keys.toml", folder / "issuer.jwks.json", folder / "revoked.txt"
        keys.write_text(
            f'[[key]]\nname = "honest"\nsha256 = "{hashed(self.honest_key)}"\n'
            f'[[key]]\nname = "hostile"\nsha256 = "{hashed(self.hostile_key)}"\nsessions = {HOSTILE_SESSIONS}\n',
            "utf-8",
        )
        issuer.write_text(json.dumps({"keys": [self.public(name) for name in self.private]}), "utf-8")
        revoked.write_text(f"{REVOKED_TOKEN}\n{REVOKED_SUBJECT}\n", "utf-8")
        return {
            "api_keys": keys,
            "auth_keys": str(issuer),
            "auth_issuer": ISSUER,
            "auth_audience": AUDIENCE,
            "revoked": revoked,
            "origins": ORIGIN,
            "secret": self.secret,
        }

    def key(self, algorithm: str) -> Any:
        """One of the issuer's private keys."""
        return serialization.load_pem_private_key(self.private[algorithm].encode(), None)

    def public(self, algorithm: str) -> dict[str, Any]:
        """The same as the issuer publishes it."""
        public: dict[str, Any] = _JWK[algorithm].to_jwk(self.key(algorithm).public_key(), as_dict=True)
        return {**public, "kid": algorithm, "use": "sig"}

    def public_pem(self, algorithm: str) -> bytes:
        """The same in PEM."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        pem: bytes = self.key(algorithm).public_key().public_bytes(serialization.Encoding.PEM, form)
        return pem

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Those of a good token, and what is changed; None takes a claim out."""
        now = int(time.time())
        good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": now + 600, "nbf": now - 10, "jti": "token-1"}
        return {name: value for name, value in {**good, **changes}.items() if value is not None}

    def sign(self, algorithm: str = "EdDSA", headers: dict[str, Any] | None = None, **changes: Any) -> str:
        """A token that the issuer has signed; good if nothing is changed."""
        named = {"kid": algorithm, **(headers or {})}
        return jwt.encode(self.claims(**changes), self.key(algorithm), algorithm, headers=named)
