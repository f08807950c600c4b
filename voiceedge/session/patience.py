"""What the client's turn detection means to the endpoint."""

from __future__ import annotations

from voiceedge.conversation.endpoint import EndpointSettings
from voiceedge.protocol.session_config import TurnDetection
from voiceedge.session.node import Node

PLAIN_SILENCE_MS = 500
"""What ends a turn in the pipeline as it is commonly built, and OpenAI's default."""
PATIENCE = {2_000: 0.7, 4_000: 1.0, 8_000: 1.5}
"""Factor on the wait by semantic_vad's longest wait, which stands for its eagerness high, medium, low."""


def endpoint_settings(detection: TurnDetection | None, node: Node) -> EndpointSettings | None:
    """How the endpoint is to decide; None where the client says itself when a turn is over."""
    if detection is None:
        return None
    stated_ms = detection.silence_duration_ms
    return EndpointSettings(
        threshold=detection.threshold,
        prefix_padding_ms=detection.prefix_padding_ms,
        silence_ms=PLAIN_SILENCE_MS if node.plain and stated_ms is None else stated_ms,
        patience=PATIENCE.get(detection.max_wait_ms or 0, 1.0),
        draft_after_ms=node.draft_after_ms,
        backchannels=detection.backchannels,
    )
