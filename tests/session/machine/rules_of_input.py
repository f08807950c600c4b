"""Rules about what the user says and what the conversation holds."""

from __future__ import annotations

from typing import Any

from tests.session.machine.rule import Rule
from tests.session.machine.seen import Seen

FRAME_MS = 40
"""Voice activity works in frames, and resampling looks ahead: positions are known as exactly as this."""


class Speech(Rule):
    """speech_started and speech_stopped belong together."""

    name = "speech begins, then stops, under one id"

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        if event["type"] == "input_audio_buffer.speech_started":
            self.require(seen.detection is not None, "nobody asked for turn detection")
            self.require(seen.speech is None, f"{seen.speech} has not stopped")
            known = event["item_id"] in seen.shown or event["item_id"] in seen.stopped
            self.require(not known, f"{event['item_id']} is not new")
        elif event["type"] == "input_audio_buffer.speech_stopped":
            self.require(event["item_id"] == seen.speech, f"{event['item_id']} stops while {seen.speech} goes on")

    def quiet(self, seen: Seen) -> None:
        self.require(seen.speech is None, f"{seen.speech} never stopped")


class MediaTime(Rule):
    """Offsets count audio that was sent, and go forward."""

    name = "times are those of the audio that was sent"

    def __init__(self) -> None:
        self._last_ms = 0

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        at = event.get("audio_start_ms") if event["type"].endswith("speech_started") else None
        if event["type"].endswith("speech_stopped"):
            at = event["audio_end_ms"]
            self.require(at >= self._last_ms, f"{at} ms is before {self._last_ms} ms")
            self._last_ms = at
        self.require(at is None or 0 <= at <= seen.audio_ms + FRAME_MS, f"{at} of {seen.audio_ms} ms")


class Predecessor(Rule):
    """LiveKit keeps its copy of the conversation by it."""

    name = "previous_item_id names the item before"

    def __init__(self) -> None:
        self._told: dict[str, str | None] = {}

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        kind, last = event["type"], seen.items[-1] if seen.items else None
        if kind == "input_audio_buffer.committed":
            self.require(event["previous_item_id"] == last, f"{event['previous_item_id']} is not the last, {last}")
        elif kind == "conversation.item.added":
            item, before = event["item"]["id"], event["previous_item_id"]
            self._told[item] = before
            self.require(before is None or before in seen.items, f"{before} is not in the conversation")
            place = self._asked_for(seen, item)
            allowed = None if place == "root" else place or last
            self.require(before == allowed, f"{item} stands behind {before}, not {allowed}")
        elif kind == "conversation.item.done":
            item, before = event["item"]["id"], event["previous_item_id"]
            told = self._told.get(item, "nothing")
            self.require(before == told, f"{item} was added behind {told}, is done behind {before}")

    def _asked_for(self, seen: Seen, item: str) -> str | None:
        """`previous_item_id` of the request that this item is the answer to; None at the end."""
        if seen.is_being_made(item) or item in seen.committed:
            return None
        requests = [one for one in seen.pending if one.type == "conversation.item.create" and not one.is_bad]
        place: str | None = requests[0].event.get("previous_item_id") if requests else None
        return place


class Items(Rule):
    """Every item is announced once and completed once."""

    name = "an item is added, then done, once"

    def __init__(self) -> None:
        self._open: set[str] = set()

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        if event["type"] == "conversation.item.added":
            item = event["item"]
            self.require(item["id"] not in seen.items, f"{item['id']} is there already")
            self._open.add(item["id"])
            if seen.is_being_made(item["id"]):
                self.require(item["status"] == "in_progress" and not item.get("content"), str(item))
        elif event["type"] == "conversation.item.done":
            item = event["item"]
            self.require(item["id"] in self._open, f"{item['id']} is not open")
            self._open.discard(item["id"])
            self.require(item["status"] in {"completed", "incomplete"}, str(item))
            self.require(item["type"] == seen.shown[item["id"]]["type"], str(item))

    def quiet(self, seen: Seen) -> None:
        self.require(not self._open, f"never done: {self._open}")


class Shown(Rule):
    """What is retrieved is what was announced."""

    name = "a retrieved item is the one that was announced"

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        if event["type"] == "conversation.item.retrieved":
            item, first = event["item"], seen.shown.get(event["item"]["id"], {})
            same = all(item.get(key) == first.get(key) for key in ("type", "role", "call_id", "name"))
            self.require(first and same, f"{item} was announced as {first}")


class Committed(Rule):
    """speech_started.item_id == committed.item_id == item.added.item.id."""

    name = "what is committed becomes an item at once"

    def __init__(self) -> None:
        self._expected: dict[str, list[str]] = {}

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "input_audio_buffer.committed":
            known = event["item_id"] in seen.committed or event["item_id"] in seen.shown
            self.require(not known, f"{event['item_id']} is an item already")
            self._expected[event["item_id"]] = ["conversation.item.added", "conversation.item.done"]
        elif kind.startswith("conversation.item.") and "item" in event and event["item"]["id"] in self._expected:
            item = event["item"]
            steps = self._expected[item["id"]]
            self.require(steps[:1] == [kind], f"{kind} of {item['id']}")
            steps.pop(0)
            if not steps:
                del self._expected[item["id"]]
            fits = item["role"] == "user" and item["content"] == [{"type": "input_audio", "transcript": None}]
            self.require(fits and item["status"] == "completed", str(item))
        elif event.get("item_id") in self._expected:
            self.broken(f"{kind} comes before the item")

    def quiet(self, seen: Seen) -> None:
        self.require(not self._expected, f"not announced: {self._expected}")


class WordsAreKept(Rule):
    """A turn in which speech-to-text hears words is committed; noise need not be."""

    name = "speech with words in it is committed"

    def quiet(self, seen: Seen) -> None:
        if seen.hears_words:
            self.require(not seen.stopped, f"never committed: {seen.stopped}")


class Transcripts(Rule):
    """The user's words are told while the client wants them, and completed once."""

    name = "a transcription is asked for, and ends once"

    def __init__(self) -> None:
        self._wanted: set[str] = set()  # items whose words the client wanted at some time
        self._wanted_throughout: set[str] = set()
        self._over: set[str] = set()

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind in {"input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"} and seen.transcribes:
            self._wanted.add(event["item_id"])
            if kind.endswith("stopped"):
                self._wanted_throughout.add(event["item_id"])
        elif kind == "input_audio_buffer.committed" and seen.transcribes:
            self._wanted.add(event["item_id"])
            if event["item_id"] not in seen.stopped:
                self._wanted_throughout.add(event["item_id"])
        elif kind == "session.updated" and event["session"]["audio"]["input"].get("transcription") is None:
            self._wanted_throughout.clear()
        elif kind == "conversation.item.added":
            self._begin(seen, event["item"]["id"])
        elif kind.startswith("conversation.item.input_audio_transcription."):
            self._word(seen, kind.rpartition(".")[2], event)

    def _begin(self, seen: Seen, item: str) -> None:
        if item in self._over:  # deleted meanwhile: the id stands for another item now
            self._over.discard(item)
            self._wanted_throughout.discard(item)
        if seen.transcribes:
            self._wanted.add(item)

    def _word(self, seen: Seen, kind: str, event: dict[str, Any]) -> None:
        item = event["item_id"]
        self.require(item in self._wanted, f"nobody asked for the words of {item}")
        self.require(item not in self._over, f"{kind} of {item} after its end")
        if kind in {"completed", "failed"}:
            self._over.add(item)
            self.require(item in seen.shown, f"{item} has not been committed")
        if kind == "failed":
            self.require("stt" in seen.once_broken, f"{event} though speech-to-text works")

    def quiet(self, seen: Seen) -> None:
        missing = (self._wanted_throughout & seen.committed) - self._over
        self.require(not missing, f"never transcribed: {missing}")


class IdleTimeout(Rule):
    """6.8: only where it was asked for; then a silent item, and a response."""

    name = "an idle timeout was asked for and is followed by its item"

    def __init__(self) -> None:
        self._timed_out: str | None = None

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        kind = event["type"]
        if self._timed_out is not None and kind == "input_audio_buffer.committed":
            self.require(event["item_id"] == self._timed_out, f"{event['item_id']} is not {self._timed_out}")
            self._timed_out = None
        elif kind == "input_audio_buffer.timeout_triggered":
            asked = seen.detection is not None and seen.detection.get("idle_timeout_ms")
            self.require(asked, "nobody asked for it")
            self.require(seen.speech is None, f"while {seen.speech} goes on")
            known = event["item_id"] in seen.timed_out or event["item_id"] in seen.shown
            self.require(not known, f"{event['item_id']} is not new")
            self._timed_out = event["item_id"]

    def quiet(self, seen: Seen) -> None:
        self.require(self._timed_out is None, f"{self._timed_out} was never committed")


INPUT_RULES = (
    Speech,
    MediaTime,
    Predecessor,
    Items,
    Shown,
    Committed,
    WordsAreKept,
    Transcripts,
    IdleTimeout,
)
