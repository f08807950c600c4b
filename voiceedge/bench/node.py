"""What a node says of itself, to state beside its figures."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from voiceedge.bench.address import endpoint

NODE_PATH = "/v1/node"
TIMEOUT_S = 5.0
LARGEST_BYTES = 1 << 20
"""What a node says of itself takes a few kilobytes."""


def about_node(url: str, api_key: str | None) -> dict[str, Any] | None:
    """Ask `GET /v1/node` once; blocking.

    Args:
        url: The node's address, in any form that the bench takes.
        api_key: Sent as the bench sends it; no redirect is followed with it.

    Returns:
        The node's own words, or None: other nodes have no such page, and a report can be written without it.
    """
    parts = urlsplit(endpoint(url, ""))
    kind = http.client.HTTPSConnection if parts.scheme == "wss" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        connection.request("GET", NODE_PATH, headers=headers)
        reply = connection.getresponse()
        body = reply.read(LARGEST_BYTES) if reply.status == http.client.OK else b"null"
        told = json.loads(body)
    except (OSError, http.client.HTTPException, ValueError):  # ValueError: no JSON, or no text
        return None
    finally:
        connection.close()
    return told if isinstance(told, dict) else None
