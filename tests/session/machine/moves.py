"""What a client may do and how the engines behave: the scripts that are drawn, and how they read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from hypothesis import strategies as st

from tests.session.machine.sounds import Sound
from voiceedge.engines import STAGES, Stage

Feature = Literal["out_of_band", "idle_timeout", "calls", "drafts"]
"""What the protocol has beside the walk of a turn."""
FEATURES: frozenset[Feature] = frozenset(get_args(Feature))

PAUSES_S = (0.0, 0.0, 0.001, 0.02, 0.1, 0.3, 1.0, 4.0)
SIZES_MS = (20, 100, 1, 33, 250, 700, 2500)
SOUNDS: tuple[Sound, ...] = ("silence", "speech", "noise")
TURNS_MS = ((400, 800), (200, 400), (600, 1800), (1500, 100))
"""Speech and the silence behind it."""


@dataclass(frozen=True, slots=True)
class Ref:
    """An item that the client names when the time has come."""

    kind: Literal["any", "answer", "unknown", "own"]
    index: int = 0
    """Counted from the newest; which of its own names, for "own"."""

    def __str__(self) -> str:
        return {"unknown": "<no such item>", "own": f"<own {self.index}>"}.get(
            self.kind, f"<{self.kind} item {self.index}>"
        )


@dataclass(frozen=True, slots=True)
class Move:
    """One thing that happens."""

    pause_s: float
    """Before it; 0: at once, without even letting the session work."""
    kind: str
    """Type of the client event, or one of "turn", "burst", "garbage", "break", "mend"."""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def is_bad(self) -> bool:
        """Whether the protocol has no meaning for what is asked, whatever the state of the session."""
        asked = self.details
        return (
            asked.get("session") in BAD_UPDATES
            or asked.get("response") in BAD_CREATES
            or asked.get("item") in BAD_ITEMS
        )

    def __str__(self) -> str:
        shown = " ".join(f"{key}={value}" for key, value in self.details.items())
        return f"after {self.pause_s:5.3f} s  {self.kind} {shown}".rstrip()


@dataclass(frozen=True, slots=True)
class Setting:
    """The engines and the network of one sequence."""

    transcription_session: bool = False
    opening: dict[str, Any] | None = None
    """What the client sends in its first session.update."""
    stt_s: float = 0.0
    llm_first_token_s: float = 0.0
    llm_token_s: float = 0.0
    tts_s: float = 0.0
    end_of_turn_s: float = 0.0
    complete: float = 0.95
    """What the end-of-turn model thinks of every pause."""
    waits_s: tuple[float, ...] = (0.0,)
    """How long engine steps stand in the queue, one after the other."""
    heard: str = "words"
    """What speech-to-text hears: "words", "nothing", or "both" in turn."""
    answer: str = "Yes. It is so, I think, for good reasons. Shall I go on?"
    calls: int = 0
    """Functions called in every answer to which functions are given."""
    draft_after_ms: int | None = None
    """Silence after which an answer is drafted; None: no drafts."""
    reader_s: float = 0.0
    """How long the client takes to read an event."""
    hangs_up: bool = False
    """The client goes away after its last move, whatever goes on."""

    def __str__(self) -> str:
        plain = Setting()
        told = [
            f"{name}={value!r}" for name in self.__slots__ if (value := getattr(self, name)) != getattr(plain, name)
        ]
        return f"setting: {', '.join(told) or 'plain'}"


@dataclass(frozen=True, slots=True)
class Script:
    """A whole sequence."""

    setting: Setting
    moves: tuple[Move, ...]

    def __str__(self) -> str:
        return "\n".join([str(self.setting), *(f"  {move}" for move in self.moves)])


ANSWERS = (Setting().answer, "Yes.", "", "...", "One two three four five six seven eight nine ten. " * 3)
SLOW_S = (0.0, 0.01, 0.15, 1.2)

VAD, SEMANTIC = {"type": "server_vad"}, {"type": "semantic_vad"}
TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}


def _input(**settings: Any) -> dict[str, Any]:
    return {"audio": {"input": settings}}


UPDATES: tuple[dict[str, Any], ...] = (
    {},
    _input(turn_detection=None),
    _input(turn_detection=VAD),
    _input(turn_detection=SEMANTIC),
    _input(turn_detection={**VAD, "interrupt_response": False}),
    _input(turn_detection={**VAD, "create_response": False}),
    _input(turn_detection={**SEMANTIC, "create_response": False, "interrupt_response": False}),
    _input(turn_detection={**VAD, "silence_duration_ms": 200, "prefix_padding_ms": 0}),
    _input(transcription={"model": "gpt-4o-mini-transcribe"}),
    _input(transcription=None),
    _input(format={"type": "audio/pcmu"}),
    _input(format={"type": "audio/pcma"}),
    _input(format={"type": "audio/pcm", "rate": 24000}),
    {"output_modalities": ["text"]},
    {"output_modalities": ["audio"]},
    {"audio": {"output": {"format": {"type": "audio/pcmu"}}}},
    {"audio": {"output": {"voice": "marin", "speed": 1.5}}},
    {"instructions": "Be brief."},
    {"instructions": ""},
    {"tools": [TOOL], "tool_choice": "auto"},
    {"tools": [TOOL, {**TOOL, "name": "clock"}], "tool_choice": "none"},
    {"tools": []},
    {"max_output_tokens": 3},
    {"max_output_tokens": "inf"},
)
OPENINGS = (
    None,
    _input(transcription={"model": "gpt-4o-mini-transcribe"}),
    _input(turn_detection=None, transcription={"model": "gpt-4o-mini-transcribe"}),
    _input(turn_detection={**VAD, "interrupt_response": False}),
    _input(turn_detection=SEMANTIC, transcription={"model": "whisper-1"}),
    _input(turn_detection=VAD, format={"type": "audio/pcmu"}),
    {"tools": [TOOL], "tool_choice": "auto"},
)
BAD_UPDATES: tuple[Any, ...] = (
    {"audio": {"input": {"turn_detection": {"type": "guess"}}}},
    {"output_modalities": "loud"},
    {"tools": "many"},
    {"audio": {"input": {"format": {"type": "audio/mp3"}}}},
)
IDLE_UPDATES = (_input(turn_detection={**VAD, "idle_timeout_ms": 6000}),)

CREATES: tuple[dict[str, Any], ...] = (
    {},
    {"output_modalities": ["text"]},
    {"output_modalities": ["audio"], "instructions": "Greet."},
    {"max_output_tokens": 2},
    {"audio": {"output": {"format": {"type": "audio/pcma"}, "voice": "ash"}}},
    {"tools": [TOOL], "tool_choice": "none"},
    {"tool_choice": "required", "tools": [TOOL]},
)
OUT_OF_BAND: tuple[dict[str, Any], ...] = (
    {"conversation": "none", "output_modalities": ["text"]},
    {"conversation": "none", "output_modalities": ["audio"], "input": []},
    {
        "conversation": "none",
        "output_modalities": ["text"],
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Sum it up."}]}],
    },
)
BAD_CREATES: tuple[dict[str, Any], ...] = (
    {"output_modalities": ["smell"]},
    {"metadata": {"key": "x" * 600}},
)

ITEMS: tuple[dict[str, Any], ...] = (
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "What is new?"}]},
    {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "It rains."}]},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Nothing at all."}]},
    {"type": "message", "role": "assistant", "content": [{"type": "input_text", "text": "So pipecat says it."}]},
    {"type": "function_call", "call_id": "call_7", "name": "weather", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "call_7", "output": "sunny"},
    {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "<speech>"}]},
)
BAD_ITEMS: tuple[dict[str, Any], ...] = (
    {"type": "message", "role": "nobody", "content": []},
    {"type": "song"},
    {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "<broken>"}]},
)
GARBAGE = (
    '{"type": "no.such.event", "event_id": "evt_garbage"}',
    "not JSON",
    "[]",
    '{"event_id": "evt_garbage"}',
    '{"type": "conversation.item.delete", "event_id": "evt_garbage"}',
    '{"type": "input_audio_buffer.append", "audio": "%%%", "event_id": "evt_garbage"}',
)

KINDS = (
    *("turn",) * 6,
    *("input_audio_buffer.append",) * 5,
    *("session.update",) * 4,
    *("response.create",) * 4,
    *("response.cancel",) * 2,
    *("conversation.item.create",) * 3,
    *("conversation.item.truncate",) * 2,
    *("conversation.item.delete",) * 2,
    "conversation.item.retrieve",
    *("input_audio_buffer.commit",) * 2,
    "input_audio_buffer.clear",
    "burst",
    "output_audio_buffer.clear",
    "garbage",
    "break",
    "mend",
)
REFS = (Ref("any"), Ref("answer"), Ref("any", 1), Ref("answer", 1), Ref("any", 3), Ref("unknown"), Ref("own", 0))
PLACES = (None, None, "root", Ref("any"), Ref("any", 2), Ref("unknown"))
NAMES = (None, Ref("own", 0), Ref("own", 1), Ref("own", 2), Ref("any"))


def _details(kind: str, a: int, b: int, features: frozenset[Feature]) -> dict[str, Any]:  # noqa: C901 - one case a kind
    """What two small numbers mean for a kind of move."""
    match kind:
        case "turn":
            speech, silence = TURNS_MS[a % len(TURNS_MS)]
            return {"speech_ms": speech, "silence_ms": silence, "chunk_ms": (100, 40, 400)[b % 3]}
        case "input_audio_buffer.append":
            return {"sound": SOUNDS[b % 3], "ms": SIZES_MS[a % len(SIZES_MS)], "cut_bytes": int(b > 8)}
        case "session.update":
            updates = UPDATES + (IDLE_UPDATES if "idle_timeout" in features else ()) + BAD_UPDATES
            return {"session": updates[(a + 12 * b) % len(updates)]}
        case "response.create":
            creates = CREATES * 2 + (OUT_OF_BAND * 2 if "out_of_band" in features else ()) + BAD_CREATES
            return {"response": creates[a % len(creates)], "tagged": b % 4 != 3}
        case "response.cancel":
            return {"whom": ("whatever runs", "what runs by its id", "a response that is over")[a % 3]}
        case "conversation.item.create":
            items = ITEMS * 2 + BAD_ITEMS
            return {"item": items[a % len(items)], "id": NAMES[b % len(NAMES)], "behind": PLACES[(a + b) % len(PLACES)]}
        case "conversation.item.truncate":
            return {"item_id": REFS[a % 4] if a < 10 else REFS[5], "audio_end_ms": (0, 150, 700, 60_000)[b % 4]}
        case "conversation.item.delete" | "conversation.item.retrieve":
            return {"item_id": REFS[a % len(REFS)]}
        case "garbage":
            return {"text": GARBAGE[a % len(GARBAGE)]}
        case "break" | "mend":
            stage: Stage = STAGES[a % len(STAGES)]
            return {"stage": stage}
    return {}


def moves(features: frozenset[Feature]) -> st.SearchStrategy[Move]:
    """Any move; the simplest is a short turn of speech, at once."""
    small = st.integers(0, 11)
    return st.builds(
        lambda kind, pause, a, b: Move(PAUSES_S[pause], KINDS[kind], _details(KINDS[kind], a, b, features)),
        st.integers(0, len(KINDS) - 1),
        st.integers(0, len(PAUSES_S) - 1),
        small,
        small,
    )


def settings(features: frozenset[Feature]) -> st.SearchStrategy[Setting]:
    """Engines fast and slow, deaf and well."""
    slow = st.sampled_from(SLOW_S)
    return st.builds(
        Setting,
        transcription_session=st.sampled_from((False,) * 9 + (True,)),
        opening=st.sampled_from(OPENINGS),
        stt_s=slow,
        llm_first_token_s=slow,
        llm_token_s=st.sampled_from((0.0, 0.005, 0.08)),
        tts_s=slow,
        end_of_turn_s=st.sampled_from((0.0, 0.02, 0.6)),
        complete=st.sampled_from((0.95, 0.5, 0.02)),
        waits_s=st.sampled_from(((0.0,), (0.001, 0.0, 0.01), (0.0, 0.4, 0.0, 0.0, 0.02))),
        heard=st.sampled_from(("words", "words", "both", "nothing")),
        answer=st.sampled_from(ANSWERS),
        calls=st.sampled_from((0, 1, 2) if "calls" in features else (0,)),
        draft_after_ms=st.sampled_from((None, 120, 300) if "drafts" in features else (None,)),
        reader_s=st.sampled_from((0.0, 0.0, 0.002, 0.05)),
        hangs_up=st.sampled_from((False, False, False, True)),
    )


def scripts(features: frozenset[Feature] = frozenset(), longest: int = 24) -> st.SearchStrategy[Script]:
    """Any sequence of events and timings."""
    return st.builds(
        lambda setting, some: Script(setting, tuple(some)),
        settings(features),
        st.lists(moves(features), min_size=1, max_size=longest),
    )
