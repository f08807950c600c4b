"""What a client says about turn detection, and what the endpoint makes of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.protocol.samples import a_session
from voiceedge.protocol.session_config import merge
from voiceedge.session.patience import PLAIN_SILENCE_MS, endpoint_settings

NODE: Any = SimpleNamespace(draft_after_ms=150, plain=False)
PLAIN: Any = SimpleNamespace(draft_after_ms=None, plain=True)


def settings(node: Any = NODE, **detection: Any) -> Any:
    session = merge(a_session(), {"audio": {"input": {"turn_detection": detection}}})
    return endpoint_settings(session.turn_detection, node)


def test_a_client_that_detects_turns_itself_has_no_endpoint():
    assert endpoint_settings(None, NODE) is None


def test_a_stated_silence_is_honoured_and_else_the_wait_adapts():
    assert settings(type="server_vad", silence_duration_ms=700).silence_ms == 700
    assert settings(type="server_vad").silence_ms is None
    assert settings(PLAIN, type="server_vad").silence_ms == PLAIN_SILENCE_MS


@pytest.mark.parametrize(("eagerness", "patience"), [("high", 0.7), ("medium", 1.0), ("auto", 1.0), ("low", 1.5)])
def test_eagerness_is_a_factor_on_the_wait(eagerness: str, patience: float):
    assert settings(type="semantic_vad", eagerness=eagerness).patience == patience


@pytest.mark.parametrize("kind", ["server_vad", "semantic_vad"])
def test_backchannels_make_turns_unless_the_client_asks_for_the_contrary(kind: str):
    assert not settings(type=kind).backchannels
    assert settings(type=kind, voiceedge_backchannels=True).backchannels


def test_the_rest_is_taken_as_it_is():
    asked = settings(type="server_vad", threshold=0.7, prefix_padding_ms=100)
    assert (asked.threshold, asked.prefix_padding_ms, asked.draft_after_ms) == (0.7, 100, 150)
