"""TLS by certificate files."""

from __future__ import annotations

import ssl
from pathlib import Path

from voiceedge.config import Config
from voiceedge.errors import ConfigError


def tls_context(config: Config) -> ssl.SSLContext | None:
    """Make what the node's port is wrapped in; None: nothing is configured, it speaks plain HTTP.

    Raises:
        ConfigError: one of the two settings is missing, or the files are not a certificate and its key.
    """
    certificate, key = config.tls_certificate, config.tls_key
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        missing = "tls_certificate" if certificate is None else "tls_key"
        raise ConfigError(f"tls_certificate and tls_key go together, and {missing} is not set.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996; what a distribution's OpenSSL allows differs
    context.set_alpn_protocols(["http/1.1"])
    load_certificate(context, certificate, key)
    return context


def load_certificate(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Read the files into a context; a second time is for connections that come afterwards.

    Raises:
        ConfigError: a file cannot be read, or is not what it should be; says which.
    """
    for path, name in ((certificate, "certificate"), (key, "key")):
        try:
            path.open("rb").close()
        except OSError as error:  # OpenSSL would not say of which file
            raise ConfigError(f"Cannot read the TLS {name} {path}: {error.strerror}.") from error

    def password() -> str:
        raise ConfigError(f"The TLS key {key} is encrypted, and nobody is here to type its password: decrypt it.")

    try:
        context.load_cert_chain(certificate, key, password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(f"The TLS key {key} does not belong to the certificate {certificate}.") from error
        reason = (error.reason or "unreadable").replace("_", " ").lower()
        raise ConfigError(f"{certificate} and {key} are no PEM certificate and its key ({reason}).") from error
