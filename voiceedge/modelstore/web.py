"""Plain HTTP, with patience and with an end to it."""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from voiceedge import __version__
from voiceedge.errors import OperatorError

CHUNK_BYTES = 1024 * 1024
PATIENCE_S = 15.0
"""Longest silence of an HTTP server, while connecting and between two chunks."""
RANGE_NOT_SATISFIABLE = 416
CONTENT_RANGE = re.compile(r"bytes (\d+)-")
"""RFC 9110, section 14.4."""


class SourceFailed(OperatorError):
    """One source could not deliver; the next one is tried."""


class BrokeOff(SourceFailed):
    """The connection ended before the content did: asking again may bring the rest."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server sends; to be closed."""

    offset: int
    """Where the first of its bytes belongs: what was asked for, or 0 when the server starts from the beginning."""
    validator: str | None
    """What `If-Range` takes to make sure that it is still the same content."""
    response: http.client.HTTPResponse

    def chunks(self) -> Iterator[bytes]:
        """The body, to its end or to where it breaks off.

        Raises:
            BrokeOff: the connection ended before what the server had announced.
        """
        try:
            while chunk := self.response.read(CHUNK_BYTES):
                yield chunk
        except TimeoutError as error:
            raise BrokeOff(f"no data for {PATIENCE_S:.0f} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise BrokeOff(f"broke off: {error}") from error
        if self.response.length:  # read() gives what there is and says nothing
            raise BrokeOff(f"broke off {self.response.length} bytes before its end")

    def close(self) -> None:
        """End the connection."""
        self.response.close()


class Web:
    """What this pull knows about servers."""

    def __init__(self, unreachable: dict[str, str]) -> None:
        """`unreachable`: hosts that did not answer, with the reason.

        Shared by the pulls of a profile, because a network that swallows packets would cost every file its own
        `PATIENCE_S`.
        """
        self._unreachable = unreachable

    def get(self, url: str, offset: int = 0, validator: str | None = None) -> Answer:
        """Ask for `url` from the byte `offset` on, if it still is what `validator` says.

        A server that knows no ranges, or has something else by now, answers from the beginning.

        Raises:
            SourceFailed: no answer, or one that is an error.
        """
        host = urlsplit(url).netloc
        if host in self._unreachable:
            raise SourceFailed(f"{host} did not answer before ({self._unreachable[host]})")
        headers = {"User-Agent": f"voiceedge/{__version__}"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if validator is not None:
                headers["If-Range"] = validator
        # whoever calls admits http and https only; redirects and proxies are urllib's
        request = urllib.request.Request(url, headers=headers)  # noqa: S310
        try:
            response = urllib.request.urlopen(request, timeout=PATIENCE_S)  # noqa: S310
        except urllib.error.HTTPError as error:
            error.close()
            if offset and error.code == RANGE_NOT_SATISFIABLE:
                return self.get(url)
            raise SourceFailed(f"HTTP {error.code} {error.reason}") from error
        except urllib.error.URLError as error:
            self._unreachable[host] = str(error.reason)
            raise SourceFailed(str(error.reason)) from error
        except TimeoutError as error:
            raise SourceFailed(f"no data for {PATIENCE_S:.0f} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise SourceFailed(f"broke off: {error}") from error
        return Answer(_offset(response), _validator(response), response)


def _offset(response: http.client.HTTPResponse) -> int:
    if response.status != http.client.PARTIAL_CONTENT:
        return 0
    found = CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    if found is None:
        response.close()
        raise SourceFailed("sent a part without saying which")
    return int(found.group(1))


def _validator(response: http.client.HTTPResponse) -> str | None:
    """A strong entity tag, else the time of change; `If-Range` takes no weak tags (RFC 9110, section 13.1.5)."""
    tag = response.headers.get("ETag")
    return tag if tag is not None and not tag.startswith("W/") else response.headers.get("Last-Modified")
