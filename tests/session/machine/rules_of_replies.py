"""Rules about what a client gets for what it sends."""

from __future__ import annotations

from typing import Any

from tests.session.machine.rule import Rule
from tests.session.machine.rules_of_input import FRAME_MS
from tests.session.machine.seen import SILENT_REQUESTS, Request, Seen, brief

MIN_COMMIT_MS = 100
REPLIES = {
    "session.updated": "session.update",
    "input_audio_buffer.cleared": "input_audio_buffer.clear",
    "conversation.item.retrieved": "conversation.item.retrieve",
    "conversation.item.truncated": "conversation.item.truncate",
    "conversation.item.deleted": "conversation.item.delete",
}
"""Events that always answer; others answer only sometimes, see `_answered_type`."""
UNANSWERED = SILENT_REQUESTS | {"response.create", "response.cancel"}
"""Requests that later requests may overtake: they get nothing, or something later, for which there are other rules."""
NAMED = {
    "conversation.item.retrieved": lambda event: event["item"]["id"],
    "conversation.item.truncated": lambda event: event["item_id"],
    "conversation.item.deleted": lambda event: event["item_id"],
}


LISTENED_TO = frozenset({"session.audio", "session.audio.input"})
"""What a transcription session has of a session's settings."""


class Replies(Rule):
    """Every client event that asks for something gets it, or an error with its event_id, in the order of asking."""

    name = "every request is answered, in order"

    def __init__(self) -> None:
        self._overtaken: list[Request] = []

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "error":
            self._error(seen, event["error"])
        elif kind == "response.created":
            self._created(seen, event["response"])
        elif (asked := _answered_type(seen, event)) is not None:
            self._reply(seen, asked, event)

    def quiet(self, seen: Seen) -> None:
        for request in seen.pending:
            owed = request.type not in UNANSWERED and not self._may_be_silent(seen, request)
            self.require(not owed and not request.is_bad, f"no reply to {request}")

    def _error(self, seen: Seen, error: dict[str, Any]) -> None:
        request = next((one for one in seen.pending if one.event_id == error["event_id"]), None)
        if error["event_id"] is None:
            unnamed = [one for one in seen.pending if one.event_id is None]
            request = next((one for one in unnamed if refusal(seen, one, error) is None), None)
        self.require(request is not None, f"an error answers nothing: {error}")
        assert request is not None
        if (why := refusal(seen, request, error)) is not None:
            self.broken(f"{error['code']} for {request}, but {why}")
        self._take(seen, request)

    def _reply(self, seen: Seen, asked: str, event: dict[str, Any]) -> None:
        fits = [one for one in seen.pending if one.type == asked and not one.is_bad]
        in_time = [one for one in fits if all(one is not late for late in self._overtaken)]
        request = next(iter(in_time or fits), None)
        name = NAMED.get(event["type"])
        if name is not None:  # a truncate of what is not there may stay without an answer
            fits = [one for one in seen.pending if one.type == asked and one.event["item_id"] == name(event)]
            request = fits[0] if fits else None
        self.require(request is not None, f"{event['type']} answers nothing")
        assert request is not None
        if (why := _must_be_refused(seen, request)) is not None:
            self.broken(f"{request} was honoured, but {why}")
        if request.type in {"input_audio_buffer.clear", "input_audio_buffer.commit"}:
            seen.buffer_from_ms = request.audio_ms
        self._take(seen, request)

    def _created(self, seen: Seen, response: dict[str, Any]) -> None:
        """Which request it answers is known by its metadata; without, it may also be a turn's answer."""
        wanted = response.get("metadata")
        for request in seen.pending:
            if request.type == "response.create" and request.event.get("response", {}).get("metadata") == wanted:
                if not wanted and seen.answers_due:
                    break
                seen.pending.remove(request)
                return
        self.require(not wanted, f"nobody asked for {brief(response)}")

    def _take(self, seen: Seen, request: Request) -> None:
        place = next(index for index, one in enumerate(seen.pending) if one is request)
        for earlier in seen.pending[:place]:
            passed = earlier.type in UNANSWERED and not earlier.is_bad
            if not passed and not self._may_be_silent(seen, earlier):
                self.broken(f"{request} is answered before {earlier}")
        self.require(all(request is not one for one in self._overtaken), f"{request} is answered too late")
        self._overtaken += [one for one in seen.pending[:place] if one.type == "response.cancel"]
        kept = [one for one in seen.pending[:place] if one.type in {"response.create", "response.cancel"}]
        seen.pending[:] = [*kept, *seen.pending[place + 1 :]]

    def _may_be_silent(self, seen: Seen, request: Request) -> bool:
        """Stock clients truncate what a connection before this one played, and an error would end some of them."""
        return request.type == "conversation.item.truncate" and request.event["item_id"] not in seen.items


def _answered_type(seen: Seen, event: dict[str, Any]) -> str | None:
    """Type of the request that an event answers, None where it answers none."""
    kind = event["type"]
    if kind == "conversation.item.added" and not seen.is_being_made(event["item"]["id"]):
        # what a commit or a turn puts into the conversation has been announced by `committed`
        return None if event["item"]["id"] in seen.committed else "conversation.item.create"
    if kind == "input_audio_buffer.committed":
        by_itself = event["item_id"] in seen.stopped or event["item_id"] in seen.timed_out
        return None if by_itself else "input_audio_buffer.commit"
    if kind == "response.done":
        details = event["response"].get("status_details") or {}
        return "response.cancel" if details.get("reason") == "client_cancelled" else None
    return REPLIES.get(kind)


def refusal(seen: Seen, request: Request, error: dict[str, Any]) -> str | None:  # noqa: C901 - one line a rule
    """Why a request may not be refused with this error; None when it may."""
    if request.is_bad:
        return None
    event = request.event
    match request.type, error["code"]:
        case "input_audio_buffer.append", _:
            failed = error["type"] == "server_error" and "vad" in seen.once_broken
            return None if failed else "nothing is wrong with it"
        case "input_audio_buffer.commit", "input_audio_buffer_commit_empty":
            # what stopped speech leaves in the buffer is known to a frame
            known_ms = request.audio_ms - max(seen.buffer_from_ms, seen.stopped_at_ms)
            return f"{known_ms:.0f} ms are there" if known_ms > MIN_COMMIT_MS + FRAME_MS else None
        case "conversation.item.create", "item_create_duplicate_item_id":
            return None if event["item"].get("id") in seen.items else "there is no such item"
        case "conversation.item.create", "item_create_invalid_previous_item_id":
            return "its place exists" if event["previous_item_id"] in [*seen.items, "root"] else None
        case "conversation.item.retrieve", "item_retrieve_invalid_item_id":
            return "the item is there" if event["item_id"] in seen.items else None
        case "conversation.item.delete", "item_delete_invalid_item_id":
            return "the item is there" if event["item_id"] in seen.items else None
        case "response.create", "conversation_already_has_active_response":
            waits = any(one is not request and one.type == "response.create" for one in seen.pending)
            return None if seen.main or waits or seen.answers_due else "no response is active"
        case "response.create", "invalid_session_type":
            return None if seen.session["type"] == "transcription" else "this is no transcription session"
        case "response.create", "not_supported":
            return None if event["response"].get("conversation") == "none" else "it is plain"
        case "response.cancel", "response_cancel_not_active":
            running = [one.id for one in seen.responses.values() if one.is_open]
            named = event.get("response_id")
            hit = named in running if named else seen.main is not None
            return f"{running} goes on" if hit else None
    return "there is no reason"


def _must_be_refused(seen: Seen, request: Request) -> str | None:
    """Why a request cannot be honoured; None when it can."""
    event = request.event
    match request.type:
        case "conversation.item.create":
            place = event.get("previous_item_id")
            if event["item"].get("id") in seen.items:
                return "there is such an item"
            return None if place is None or place in [*seen.items, "root"] else "its place does not exist"
        case "conversation.item.retrieve" | "conversation.item.delete" | "conversation.item.truncate":
            return None if event["item_id"] in seen.items else "there is no such item"
        case "input_audio_buffer.commit":
            most_ms = request.audio_ms - seen.buffer_from_ms
            return f"only {most_ms:.0f} ms were there" if most_ms < MIN_COMMIT_MS - FRAME_MS else None
    return None


class Asked(Rule):
    """Who asks for a response gets it, or is told why not; LiveKit waits ten seconds for it and gives up."""

    name = "every response.create is answered"

    def __init__(self) -> None:
        self._for_turns_or_asked = 0

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        if event["type"] == "response.created" and not event["response"].get("metadata") and seen.answers_due:
            self._for_turns_or_asked += 1

    def quiet(self, seen: Seen) -> None:
        waiting = [one for one in seen.pending if one.type == "response.create"]
        for request in waiting:
            tagged = bool(request.event.get("response", {}).get("metadata"))
            answered = not tagged and len(waiting) <= self._for_turns_or_asked
            self.require(answered, f"no reply to {request}")


class Cancelled(Rule):
    """Who cancels is told that it is so, or that nothing was there; else an answer is lost of which nobody knew."""

    name = "every response.cancel is answered"

    def quiet(self, seen: Seen) -> None:
        for request in seen.pending:
            self.require(request.type != "response.cancel", f"no reply to {request}")


class Truncated(Rule):
    """Clamped to what there is, never more than was asked for."""

    name = "a truncate cuts where it was asked to"

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        if event["type"] == "conversation.item.truncated":
            item = event["item_id"]
            asked = [
                one.event["audio_end_ms"]
                for one in seen.pending
                if one.type == "conversation.item.truncate" and one.event["item_id"] == item
            ]
            at = event["audio_end_ms"]
            self.require(not asked or 0 <= at <= asked[0], f"{at} ms instead of {asked[:1]}")
            response = seen.responses.get(seen.made_by.get(item, ""))
            sounded_ms = response.item_audio_ms.get(item, 0.0) if response else 0.0
            self.require(not asked or at >= min(asked[0], sounded_ms) - 1, f"{at} ms of {sounded_ms:.0f} ms sounded")


class Echo(Rule):
    """The echo is what holds: clients read it (agents-js decides by it who cancels)."""

    name = "session.updated echoes what was asked for"

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        if event["type"] != "session.updated":
            return
        request = next((one for one in seen.pending if one.type == "session.update" and not one.is_bad), None)
        if request is not None:
            self._holds(request.event["session"], event["session"], seen, "session")

    def _holds(self, asked: Any, echoed: Any, seen: Seen, path: str) -> None:
        """What was asked for is in the echo; defaults may stand beside it."""
        if isinstance(asked, dict):
            self.require(isinstance(echoed, dict), f"{path} is {echoed!r}, asked for {asked!r}")
            for key, value in asked.items():
                if seen.session["type"] == "realtime" or f"{path}.{key}" in LISTENED_TO:
                    self._holds(value, echoed.get(key), seen, f"{path}.{key}")
        elif isinstance(asked, list):
            self.require(len(asked) == len(echoed or []), f"{path} is {echoed!r}, asked for {asked!r}")
            for index, (value, shown) in enumerate(zip(asked, echoed, strict=True)):
                self._holds(value, shown, seen, f"{path}[{index}]")
        elif path != "session.audio.output.voice":
            self.require(asked == echoed, f"{path} is {echoed!r}, asked for {asked!r}")


class Voice(Rule):
    """The voice of a session is fixed after its first audio, and not before."""

    name = "the voice can be chosen until it has spoken"

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        request = next((one for one in seen.pending if one.type == "session.update" and not one.is_bad), None)
        if event["type"] != "session.updated" or request is None or seen.session["type"] == "transcription":
            return
        asked = request.event["session"].get("audio", {}).get("output", {}).get("voice")
        echoed = event["session"]["audio"]["output"]["voice"]
        speaks = any(one.sounded or (one.is_open and one.modality == "audio") for one in seen.responses.values())
        self.require(speaks or asked in {None, echoed}, f"it is {echoed}, asked for {asked}, and nothing was heard yet")


class TurnsAnswered(Rule):
    """Who has spoken and stopped gets an answer, if the session is so configured."""

    name = "a turn with words gets a response"

    def __init__(self) -> None:
        self._owed: str | None = None

    def sent(self, seen: Seen, request: Request) -> None:
        if request.type in {"response.cancel", "session.update"}:
            self._owed = None  # it may be this answer that was taken back

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "input_audio_buffer.speech_stopped":
            answered = seen.detection is not None and seen.detection["create_response"]
            taken_back = any(one.type in {"response.cancel", "session.update"} for one in seen.pending)
            if answered and seen.session["type"] == "realtime" and not taken_back:
                self._owed = event["item_id"]
        elif kind in {"input_audio_buffer.speech_started", "response.created"}:
            self._owed = None  # the answer comes, or the user has more to say

    def quiet(self, seen: Seen) -> None:
        if seen.hears_words:
            self.require(self._owed is None, f"nobody answered {self._owed}")


class Unasked(Rule):
    """A response has a cause: a request, a turn, or an idle timeout."""

    name = "every response has a cause"

    def __init__(self) -> None:
        self._causes = 0

    def sent(self, seen: Seen, request: Request) -> None:
        self._causes += request.type == "response.create"

    def received(self, seen: Seen, event: dict[str, Any]) -> None:
        kind = event["type"]
        by_turn = kind == "input_audio_buffer.speech_stopped" and (seen.detection or {}).get("create_response")
        self._causes += bool(by_turn) or kind == "input_audio_buffer.timeout_triggered"
        if kind == "response.created":
            self.require(self._causes > 0, f"{event['response']['id']} has none")
            self._causes -= 1


REPLY_RULES = (Asked, Cancelled, Truncated, Echo, Voice, TurnsAnswered, Unasked, Replies)
"""Replies comes last: it forgets the requests that the others look at."""
