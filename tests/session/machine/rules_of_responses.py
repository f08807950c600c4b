"""Rules about what the assistant says."""

from __future__ import annotations

import base64
from typing import Any

from tests.session.machine.rule import Rule
from tests.session.machine.seen import Request, Seen, brief


class OneAtATime(Rule):
    """Only one response may write the default conversation."""

    name = "one response at a time in the conversation"

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        if event["type"] == "response.created" and event["response"]["conversation_id"] is not None:
            self.require(seen.main is None, f"{event['response']['id']} begins while {seen.main} goes on")


class OneConversation(Rule):
    """A session has one conversation; what is out of band names none."""

    name = "all responses name the session's conversation, or none"

    def __init__(self) -> None:
        self._id: str | None = None

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        if event["type"] in {"response.created", "response.done"}:
            named = event["response"]["conversation_id"]
            self._id = self._id or named
            self.require(named in {None, self._id}, f"{named} is not {self._id}")


class Created(Rule):
    """What is created has not begun."""

    name = "a response begins in progress and empty"

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        if event["type"] == "response.created":
            response = event["response"]
            self.require(response["status"] == "in_progress" and response["output"] == [], str(response))
            self.require(response.get("usage") is None and response.get("status_details") is None, str(response))


class NoTranscriptionResponses(Rule):
    """A transcription session only listens."""

    name = "a transcription session makes no responses"

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        if event["type"].startswith("response."):
            self.require(seen.session["type"] == "realtime", event["type"])


class Silenced(Rule):
    """Late audio of a dead answer is what the user hates most."""

    name = "nothing is said after the user interrupts"

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        if event["type"].startswith("response.") and event["type"].endswith(".delta"):
            response = seen.responses.get(event["response_id"])
            self.require(response is None or not response.silenced, f"{event['type']} of {event['response_id']}")


class Interrupted(Rule):
    """6.2: the interrupted response is closed at once, before the user has finished."""

    name = "an interrupted response ends as cancelled by the turn"

    def __init__(self) -> None:
        self._last_kinds = ["", ""]

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        # a response that was asked for and had not been created is told of all the same
        unborn = self._last_kinds == ["input_audio_buffer.speech_started", "response.created"]
        self._last_kinds = [self._last_kinds[1], event["type"]]
        if event["type"] == "response.done":
            response = seen.responses.get(event["response"]["id"])
            by_turn = _cancelled_by(event) == "turn_detected"
            fits = response is not None and by_turn == (response.silenced or (unborn and by_turn))
            self.require(fits, f"{brief(event['response'])} of {response}")
        elif event["type"] not in AFTER_SPEECH_STARTED:
            late = [one.id for one in seen.responses.values() if one.is_open and one.silenced]
            self.require(not late, f"{event['type']} comes before the end of {late}")


AFTER_SPEECH_STARTED = frozenset(
    {
        "conversation.item.done",
        "response.content_part.done",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.output_item.done",
        "response.output_text.done",
    }
)
"""All that may stand between an interrupting speech_started and the response's end; deltas have a rule of their own."""


class Terminal(Rule):
    """A response ends as it does for a reason."""

    name = "a response ends for a reason"

    def __init__(self) -> None:
        self._may_be_cut = False

    def sent(self, seen: Seen, request: Request) -> None:
        asked = request.event.get("session", request.event.get("response"))
        limit = asked.get("max_output_tokens") if isinstance(asked, dict) else None
        self._may_be_cut |= isinstance(limit, int)

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        if event["type"] != "response.done":
            return
        response, details = event["response"], event["response"].get("status_details")
        self.require((details is None) == (response["status"] == "completed"), str(details))
        match response["status"]:
            case "completed":
                statuses = {item["status"] for item in response["output"]}
                self.require(statuses <= {"completed"}, f"completed with items {statuses}")
            case "cancelled":
                self.require(details["reason"] in {"turn_detected", "client_cancelled"}, str(details))
            case "failed":
                self.require(seen.once_broken & {"stt", "llm", "tts"}, f"{details} though no engine failed")
            case "incomplete":
                self.require(self._may_be_cut and details["reason"] == "max_output_tokens", str(details))
            case status:
                self.broken(f"status {status}")


class Modality(Rule):
    """Audio comes with a transcript, text alone."""

    name = "a response keeps to its modality"

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        response = seen.responses.get(event.get("response_id", ""))
        if response is None:
            return
        kind = event["type"]
        spoken = kind.startswith(("response.output_audio.", "response.output_audio_transcript."))
        written = kind.startswith("response.output_text.")
        if kind.startswith("response.content_part."):
            spoken, written = event["part"]["type"] == "audio", event["part"]["type"] == "text"
        self.require(not spoken or response.modality == "audio", f"{kind} in a response that writes")
        self.require(not written or response.modality == "text", f"{kind} in a response that speaks")


class Samples(Rule):
    """A delta can be played as it is."""

    name = "audio comes in whole samples"

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        if event["type"] == "response.output_audio.delta":
            size = len(base64.b64decode(event["delta"], validate=True))
            whole = 2 if seen.responses[event["response_id"]].output_format == "audio/pcm" else 1
            self.require(size and size % whole == 0, f"{size} bytes")


class AddsUp(Rule):
    """Clients show deltas, and then replace them by the whole."""

    name = "what is said adds up"

    def __init__(self) -> None:
        self._said: dict[str, str] = {}
        self._cut: set[str] = set()

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        match event["type"]:
            case "response.output_text.delta" | "response.output_audio_transcript.delta":
                self._said[event["item_id"]] = self._said.get(event["item_id"], "") + event["delta"]
            case "response.output_text.done":
                self._same(seen, event["item_id"], event["text"])
            case "response.output_audio_transcript.done":
                self._same(seen, event["item_id"], event["transcript"])
            case "response.content_part.done":
                part = event["part"]
                self._same(seen, event["item_id"], part["text"] if part["type"] == "text" else part["transcript"])
            case "response.output_item.done" if event["item"]["type"] == "message":
                said = "".join(part.get("text", part.get("transcript")) for part in event["item"]["content"])
                self._same(seen, event["item"]["id"], said)

    def _same(self, seen: Seen, item_id: str, whole: str) -> None:
        said = self._said.get(item_id, "")
        # captions that were on their way when the response was cancelled are taken back: then the whole is longer
        self.require(whole.startswith(said), f"{whole!r} is not {said!r}")
        self._cut |= {item_id} if whole != said else set()

    def quiet(self, seen: Seen) -> None:
        for item_id in self._cut & seen.made_by.keys():
            status = seen.responses[seen.made_by[item_id]].status
            self.require(status == "cancelled", f"captions of {item_id} are missing, and it was {status}")


class Metadata(Rule):
    """LiveKit finds its answers by it."""

    name = "metadata comes back as it was sent"

    def __init__(self) -> None:
        self._asked: list[dict[str, str]] = []

    def sent(self, seen: Seen, request: Request) -> None:
        if request.type == "response.create" and (given := request.event.get("response", {}).get("metadata")):
            self._asked.append(given)

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        if event["type"] not in {"response.created", "response.done"}:
            return
        metadata = event["response"].get("metadata")
        if event["type"] == "response.done":
            self.require(metadata == seen.responses[event["response"]["id"]].metadata, f"{metadata} at the end")
        elif metadata is not None:
            self.require(metadata in self._asked, f"nobody sent {metadata}, or it came back already")
            self._asked.remove(metadata)


class Overrides(Rule):
    """What a client asks of one response holds for it."""

    name = "a response is what was asked for"

    def __init__(self) -> None:
        self._asked: dict[str, dict[str, Any]] = {}

    def sent(self, seen: Seen, request: Request) -> None:
        asked = request.event.get("response", {}) if request.type == "response.create" else {}
        if "tag" in asked.get("metadata", {}):
            self._asked[asked["metadata"]["tag"]] = asked

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        if event["type"] != "response.created":
            return
        made = event["response"]
        asked = self._asked.get((made.get("metadata") or {}).get("tag", ""), {})
        for key in ("output_modalities", "max_output_tokens"):
            self.require(key not in asked or made[key] == asked[key], f"{key} is {made[key]}, asked for {asked}")
        self.require((asked.get("conversation") == "none") == (made["conversation_id"] is None), f"{made} for {asked}")
        wanted = asked.get("audio", {}).get("output", {})
        for key, value in wanted.items():
            self.require(made["audio"]["output"][key] == value, f"{key} is not {value}: {made['audio']}")


class Calls(Rule):
    """6.5: a client runs what it is told to run, once."""

    name = "function calls are whole, named, and asked for"

    def __init__(self) -> None:
        self._arguments: dict[str, str] = {}
        self._calls: dict[str, dict[str, Any]] = {}
        self._cut: set[str] = set()
        self._offered: set[str] = set()
        self._asked: dict[str, dict[str, Any]] = {}

    def sent(self, seen: Seen, request: Request) -> None:
        asked = request.event.get("session", request.event.get("response"))
        if isinstance(asked, dict) and isinstance(asked.get("tools"), list):
            self._offered |= {tool["name"] for tool in asked["tools"]}
            self._asked[(asked.get("metadata") or {}).get("tag", "")] = asked

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "response.output_item.added" and event["item"]["type"] == "function_call":
            call = event["item"]
            known = {one["call_id"] for one in self._calls.values()}
            self.require(call["call_id"] not in known, f"{call['call_id']} twice")
            self.require(len(call["call_id"]) <= 32 and call["arguments"] == "", str(call))
            self.require(call["name"] in self._offered, f"nobody offered {call['name']}")
            tag = (seen.responses[event["response_id"]].metadata or {}).get("tag")
            forbidden = tag in self._asked and self._asked[tag].get("tool_choice") == "none"
            self.require(not forbidden, f"{call['name']} though this response calls nothing")
            self._calls[call["id"]] = call
        elif kind.startswith("response.function_call_arguments."):
            call = self._calls.get(event["item_id"], {})
            self.require(call.get("call_id") == event["call_id"], f"{kind} of {event['call_id']} for {call}")
            so_far = self._arguments.get(event["item_id"], "")
            if kind.endswith(".delta"):
                self._arguments[event["item_id"]] = so_far + event["delta"]
            else:
                self._whole(event["item_id"], event["arguments"])
                self.require(event["name"] == call["name"], event["name"])
        elif kind == "response.output_item.done" and event["item"]["type"] == "function_call":
            self._whole(event["item"]["id"], event["item"]["arguments"])

    def _whole(self, item_id: str, arguments: str) -> None:
        """A response that is cancelled takes its unsent pieces along, like captions."""
        so_far = self._arguments.get(item_id, "")
        self.require(arguments.startswith(so_far), f"{arguments!r} is not {so_far!r}")
        self._cut |= {item_id} if arguments != so_far else set()

    def quiet(self, seen: Seen) -> None:
        for item_id in self._cut & seen.made_by.keys():
            status = seen.responses[seen.made_by[item_id]].status
            self.require(status == "cancelled", f"arguments of {item_id} are missing, and it was {status}")


def _cancelled_by(event: dict[str, Any]) -> str | None:
    details = event["response"].get("status_details") or {}
    reason: str | None = details.get("reason") if event["response"]["status"] == "cancelled" else None
    return reason


RESPONSE_RULES = (
    OneAtATime,
    OneConversation,
    Created,
    NoTranscriptionResponses,
    Silenced,
    Interrupted,
    Terminal,
    Modality,
    Samples,
    AddsUp,
    Metadata,
    Overrides,
    Calls,
)
