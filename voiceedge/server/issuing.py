"""What an issuer of tokens does, for development and tests: in production an identity provider does it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm
from jwt.utils import base64url_encode

from voiceedge.errors import ConfigError
from voiceedge.server.logs import printable

PRIVATE_FILE, PUBLIC_FILE = "issuer.pem", "issuer.jwks.json"
REQUIRED = ("iss", "aud", "sub", "exp", "nbf")
"""Claims without which no node takes a token."""


class Issuer:
    """A private Ed25519 key and what it signs."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def make(cls) -> Issuer:
        """One with a new key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> Issuer:
        """One with the key in a PEM file.

        Raises:
            ConfigError: there is no such key.
        """
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except OSError as error:
            reason = error.strerror
            raise ConfigError(f"The key {path} cannot be read ({reason}). Make one: voiceedge token issuer") from error
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{path} is no private key in PEM without a password.") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigError(f"{path} is no Ed25519 key. Make one: voiceedge token issuer")
        return cls(key)

    def save(self, folder: Path) -> tuple[Path, Path]:
        """Write the private key, readable by its owner only, and the key set; returns where.

        Raises:
            ConfigError: a private key is there, whose tokens would be lost.
        """
        private, public = folder / PRIVATE_FILE, folder / PUBLIC_FILE
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        pem = self._key.private_bytes(encoding, form, serialization.NoEncryption())
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(private, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(pem)
            public.write_text(json.dumps({"keys": [self.public]}, indent=1) + "\n", encoding="utf-8")
        except FileExistsError as error:
            raise ConfigError(f"{private} exists, and its tokens would be lost: choose another folder.") from error
        except OSError as error:
            raise ConfigError(f"Cannot write to {folder}: {error.strerror}.") from error
        return private, public

    @property
    def public(self) -> dict[str, Any]:
        """The key that checks, as a JWK named by its thumbprint (RFC 7638)."""
        public: dict[str, Any] = OKPAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        required = {name: public[name] for name in ("crv", "kty", "x")}
        canonical = json.dumps(required, separators=(",", ":"), sort_keys=True).encode()
        thumbprint = base64url_encode(hashlib.sha256(canonical).digest()).decode()
        return {**public, "use": "sig", "alg": "EdDSA", "kid": thumbprint}

    def sign(self, claims: dict[str, Any]) -> str:
        """Make a token."""
        return jwt.encode(claims, self._key, "EdDSA", headers={"kid": self.public["kid"]})


def unchecked(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token, whoever signed it.

    Raises:
        ConfigError: it is none.
    """
    try:
        return jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})
    except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
        raise ConfigError(f"That is no token: {printable(str(error))}.") from error
