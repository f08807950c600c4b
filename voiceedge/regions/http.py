"""One connection to a node on which one question after the other is asked."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field

import httptools

READ_BYTES = 1 << 16
MOST_BYTES = 1 << 20
"""A node's answers are a few hundred bytes; whatever sends more than this is none."""


class NoAnswer(Exception):
    """What came back is no answer that can be used."""


@dataclass(slots=True)
class Reply:
    """What a node answers. Filled by the parser, which calls the methods below."""

    status: int = 0
    body: bytes = b""
    is_complete: bool = False
    _parts: list[bytes] = field(default_factory=list)

    def on_body(self, part: bytes) -> None:
        """Take a piece of the body."""
        self._parts.append(part)

    def on_message_complete(self) -> None:
        """Note that all has come."""
        self.body, self.is_complete = b"".join(self._parts), True


class Connection:
    """HTTP/1.1, kept alive between requests. Whoever opens it closes it."""

    def __init__(self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._host = host
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, address: str, port: int, host: str) -> Connection:
        """Connect over TCP: one round trip, once the address is known.

        Raises:
            OSError: nobody answers there.
        """
        return cls(host, *await asyncio.open_connection(address, port))

    async def secure(self, context: ssl.SSLContext) -> None:
        """Go on inside TLS.

        Raises:
            OSError: the two sides do not agree, or the certificate is not to be trusted.
        """
        await self._writer.start_tls(context, server_hostname=self._host)

    async def get(self, path: str) -> Reply:
        """Ask for a path and read the whole answer.

        Raises:
            NoAnswer: what comes is not HTTP, or the connection ends.
            OSError: the connection breaks.
        """
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: voiceedge\r\n\r\n".encode())
        await self._writer.drain()
        reply, read = Reply(), 0
        parser = httptools.HttpResponseParser(reply)
        while not reply.is_complete:
            chunk = await self._reader.read(READ_BYTES)
            read += len(chunk)
            if not chunk or read > MOST_BYTES:
                raise NoAnswer("it hangs up" if not chunk else "it does not stop talking")
            try:
                parser.feed_data(chunk)
            except httptools.HttpParserError as error:
                raise NoAnswer("it does not speak HTTP") from error
            except httptools.HttpParserUpgrade as error:  # nobody asked for one
                raise NoAnswer("it changes the protocol") from error
        reply.status = parser.get_status_code()
        return reply

    def close(self) -> None:
        """Hang up, without waiting for the other side to agree."""
        self._writer.transport.abort()
