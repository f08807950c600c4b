"""TLS by certificate files, which are read again when they change."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from voiceedge.config import Config
from voiceedge.errors import ConfigError
from voiceedge.server.watched_file import Version, version_of

log = logging.getLogger(__name__)


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
    return Certificate(certificate, key).context


class Certificate:
    """A certificate and its key: whoever connects after they were renewed gets the new pair.

    The files are looked at in every handshake, which costs microseconds beside it. They are written one after the
    other: while they do not go together, the pair that was read before stays.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Read the files.

        Raises:
            ConfigError: they are not a certificate and its key.
        """
        self._certificate, self._key = certificate, key
        self._read = self._versions()
        self._complaint: str | None = None
        self.context = _context(certificate, key)
        """What the port is wrapped in, for as long as it is open."""
        self._current = self.context
        self.context.sni_callback = self._choose

    def refresh(self) -> ssl.SSLContext:
        """Read the files again if one of them has changed, and return what holds now.

        What cannot be used is said once, and changes nothing.
        """
        versions = self._versions()
        if versions == self._read:
            return self._current
        try:
            # never into the context in use: OpenSSL takes the certificate, and only then looks whether the key fits
            self._current = _context(self._certificate, self._key)
        except ConfigError as error:
            if not isinstance(error, _UnreadableError):  # that may pass without a change that can be seen
                self._read = versions  # what is in them will not get better: it is not read twice
            if str(error) != self._complaint:
                log.warning("The certificate that was read before stays in use. %s", error)
            self._complaint = str(error)
        else:
            self._read = versions
            log.info("The TLS certificate %s was renewed.", self._certificate)
            self._complaint = None
        return self._current

    def _choose(self, connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Called in every handshake, also of a client that names no host: what it gets is decided here."""
        connection.context = self.refresh()

    def _versions(self) -> tuple[Version, Version] | None:
        """Which versions of the two files are there; None while one of them cannot be seen."""
        try:
            return version_of(self._certificate), version_of(self._key)
        except OSError:
            return None


class _UnreadableError(ConfigError):
    """A file cannot be read, whatever is in it."""


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Wrap connections in what the two files say.

    Raises:
        ConfigError: a file cannot be read, or is not what it should be; says which.
    """
    for path, name in ((certificate, "certificate"), (key, "key")):
        try:
            path.open("rb").close()
        except OSError as error:  # OpenSSL would not say of which file
            raise _UnreadableError(f"Cannot read the TLS {name} {path}: {error.strerror}.") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996; what a distribution's OpenSSL allows differs
    context.set_alpn_protocols(["http/1.1"])

    def password() -> str:
        raise ConfigError(f"The TLS key {key} is encrypted, and nobody is here to type its password: decrypt it.")

    try:
        context.load_cert_chain(certificate, key, password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(f"The TLS key {key} does not belong to the certificate {certificate}.") from error
        reason = (error.reason or "unreadable").replace("_", " ").lower()
        raise ConfigError(f"{certificate} and {key} are no PEM certificate and its key ({reason}).") from error
    except OSError as error:  # gone since it was looked at
        raise _UnreadableError(f"Cannot read {certificate} and {key}: {error.strerror}.") from error
    return context
