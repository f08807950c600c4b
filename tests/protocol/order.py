"""An independent reading of the order of a response's events; knows nothing of the code under test."""

from collections.abc import Iterable
from typing import Any

NEXT = {
    "response.created": {"new": "running"},
    "response.output_item.added": {"running": "added"},
    "conversation.item.added": {"added": "shown"},
    "response.content_part.added": {"shown": "part"},
    "response.output_audio.delta": {"part": "part"},
    "response.output_audio_transcript.delta": {"part": "part"},
    "response.output_text.delta": {"part": "part"},
    "response.output_audio.done": {"part": "silent"},
    "response.output_audio_transcript.done": {"silent": "said"},
    "response.output_text.done": {"part": "said"},
    "response.content_part.done": {"said": "complete"},
    "response.function_call_arguments.delta": {"shown": "shown"},
    "response.function_call_arguments.done": {"shown": "complete"},
    "conversation.item.done": {"complete": "closed", "shown": "closed"},  # shown: a call that was cut
    "response.output_item.done": {"closed": "running"},
    "response.done": {"running": "over"},
}
OUT_OF_BAND = {
    "response.output_item.added": {"running": "shown"},
    "response.output_item.done": {"complete": "running", "shown": "running"},
}
"""Without conversation.item.* events the two steps around them fall together."""


class ResponseOrder:
    """Follows all responses of one connection through the events that it sends, as decoded JSON."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.out_of_band: set[str] = set()
        self.response_of_item: dict[str, str] = {}
        self.items: dict[str, list[str]] = {}

    def see(self, event: dict[str, Any]) -> None:
        """Take the next event; AssertionError when it may not come now."""
        kind = event["type"]
        name = self._response(event)
        if kind not in NEXT or name is None:
            assert not kind.startswith("response."), f"nobody knows {kind}"
            return
        if kind == "response.created":
            assert name not in self.states, "a response is created once"
            self.items[name] = []
            if event["response"]["conversation_id"] is None:
                self.out_of_band.add(name)
        steps = OUT_OF_BAND.get(kind, NEXT[kind]) if name in self.out_of_band else NEXT[kind]
        state = self.states.get(name, "new")
        assert state in steps, f"{kind} while {state}"
        if state == "shown" and kind.endswith("item.done"):
            assert event["item"]["status"] == "incomplete", "a complete call has its arguments announced"
        self.states[name] = steps[state]
        self._indices(event, name)

    def all_over(self) -> bool:
        """Every response that was created is done."""
        return set(self.states.values()) <= {"over"}

    def _response(self, event: dict[str, Any]) -> str | None:
        if event["type"].startswith("conversation.item."):
            return self.response_of_item.get(event.get("item", {}).get("id", ""))
        return event.get("response_id") or event.get("response", {}).get("id")

    def _indices(self, event: dict[str, Any], name: str) -> None:
        items = self.items[name]
        if event["type"] == "response.output_item.added":
            self.response_of_item[event["item"]["id"]] = name
        if "output_index" in event:
            assert event["output_index"] == len(items)
            assert self.response_of_item[event.get("item_id") or event["item"]["id"]] == name
        if event["type"] == "response.output_item.done":
            del self.response_of_item[event["item"]["id"]]
            items.append(event["item"]["id"])
        if event["type"] == "response.done":
            assert [item["id"] for item in event["response"]["output"]] == items


def check(events: Iterable[dict[str, Any]]) -> None:
    """Check a whole connection: the order of every response, and that each one ended."""
    order = ResponseOrder()
    for event in events:
        order.see(event)
    assert order.all_over(), order.states
