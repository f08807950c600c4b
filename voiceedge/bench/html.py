"""The report as one page that needs nothing else: it opens from disk, without network, and can be sent to anybody.

Words of users, answers and names come from elsewhere. They lie in the page as JSON in which no tag can begin or end,
the page's script writes them as text, and its policy lets no other script run and nothing be loaded.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from base64 import b64encode
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

_SCRIPTS = ("charts.js", "turns.js", "report.js")
_PLACE = re.compile(r"\{\{ (\w+) \}\}")


def to_html(report: Mapping[str, Any]) -> str:
    """The page of a report in its JSON form (`report.to_json`)."""
    style = _file("report.css")
    script = '"use strict";\n' + "\n".join(map(_file, _SCRIPTS))
    policy = f"default-src 'none'; script-src {_fingerprint(script)}; style-src {_fingerprint(style)}; base-uri 'none'"
    parts = {
        "policy": f"{policy}; form-action 'none'",
        "title": html.escape(f"VoiceEdge bench: {report['environment'].get('url', '')}"),
        "style": style,
        "script": script,
        "report": inert(report),
    }
    # in one pass, so that nothing that was put in is taken for a place
    return _PLACE.sub(lambda place: parts[place[1]], _file("report.html"))


def inert(value: object) -> str:
    """JSON that cannot end the script element it stands in, nor begin a comment or another one there."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _file(name: str) -> str:
    return (files("voiceedge.bench") / "page" / name).read_text("utf-8")


def _fingerprint(text: str) -> str:
    """As a content security policy names what it allows."""
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
