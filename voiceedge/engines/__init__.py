"""What an engine is. Weights are loaded once and shared by all sessions; state is a stream.

An engine is blocking code on local paths: it does not download, read the environment, know sessions or
spawn tasks. Whatever takes long is generator-shaped, so that `session/compute` can stop between two steps.
All audio is PCM: mono float32 in [-1, 1], shape [samples], at the rate that the docstring names.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

from voiceedge.audio.pcm import PCM

Stage = Literal["vad", "end_of_turn", "stt", "llm", "tts"]
STAGES: tuple[Stage, ...] = get_args(Stage)
"""In the order in which a turn passes them."""
LISTENING_RATE_HZ = 16_000
"""Rate at which VAD, end of turn and speech-to-text hear."""


class VadStream(Protocol):
    """One session's voice-activity state."""

    def probability(self, frame: PCM) -> float:
        """Probability in [0, 1] that `frame`, shape [frame_samples] at 16 kHz, holds speech."""
        ...


class Vad(Protocol):
    """Voice-activity detection."""

    frame_samples: int
    """Samples a frame at 16 kHz; frames do not overlap."""

    def open(self) -> VadStream:
        """Start a stream with fresh state."""
        ...


class EndOfTurn(Protocol):
    """Judges from the sound alone whether a speaker has finished."""

    def probability(self, audio: PCM) -> float:
        """Probability in [0, 1] that the turn in `audio` (16 kHz, the turn so far) is complete."""
        ...


@dataclass(frozen=True, slots=True)
class Segment:
    """Words heard in one window (at most 30 s) of an utterance."""

    text: str
    """Empty when the window held no words."""
    mean_log_probability: float = 0.0
    no_speech_probability: float = 0.0
    tokens: int = 0
    """How many the decoder gave, repeats that were cut off included."""
    token_ids: tuple[int, ...] = ()
    """The words as the decoder gave them: to be believed again, not decoded again."""
    marked: float | None = None
    """Probability in [0, 1] that a final mark stands behind the last word, whatever was written; None: unknown."""


class Stt(Protocol):
    """Speech-to-text."""

    def transcribe(self, audio: PCM, earlier: Sequence[Segment] = ()) -> Iterator[Segment]:
        """Transcribe an utterance of any length at 16 kHz, a segment a window.

        Silence and noise give segments with empty text. `earlier` is what was made of a beginning of the same audio:
        where it still holds it is verified, which is cheaper than to decode it again.
        """
        ...

    def steps(self, audio: PCM, earlier: Sequence[Segment] = ()) -> Iterator[Segment | None]:
        """The same in steps that somebody more urgent can wait for; None where one is over without a segment."""
        ...


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the client can run."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON Schema of the arguments, an object; {} for a function without any."""


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether tools may, must or must not be called."""

    mode: Literal["auto", "none", "required"] = "auto"
    name: str | None = None
    """With "required": the only one that may be called, once."""
    parallel: bool = True
    """Whether one answer may hold several calls."""


@dataclass(frozen=True, slots=True)
class Call:
    """A function call that an assistant made."""

    name: str
    arguments: str
    """JSON, as it was written."""


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of a chat."""

    role: Literal["system", "user", "assistant", "tool"]
    """"tool" is what a called function returned."""
    text: str
    tokens: tuple[int, ...] = ()
    """Token ids that the whole message was generated as, calls and their markup included; used instead of
    tokenising it again, so that the cache still matches. Empty for what a model did not write."""
    calls: tuple[Call, ...] = ()
    """What an assistant called, after its text."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What an LLM is asked: a chat and the tools it may call."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ToolChoice()


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen."""

    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    """Divides the logits of tokens already generated in this answer (arxiv:1909.05858); 1 is off."""
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    """The answer ends before the first of these strings."""
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Prefilled:
    """A step of prefill has run."""

    tokens: int
    """New tokens that this step put into the cache."""
    cached: int
    """Tokens that were there before the answer began and were used again."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A token has been decoded."""

    token: int
    text: str
    """What can be said so far; may be empty while a character or a possible stop string is incomplete, and for the
    markup around a call."""


@dataclass(frozen=True, slots=True)
class CallOpened:
    """The model calls a function; its arguments follow."""

    name: str


@dataclass(frozen=True, slots=True)
class CallPiece:
    """A token of the arguments of the call that is open has been decoded."""

    token: int
    text: str
    """More of the JSON; the pieces of a call add up to it."""


@dataclass(frozen=True, slots=True)
class CallClosed:
    """The arguments of the call are complete and fit the tool's schema. A call that is cut off is never closed."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer is over; always the last step."""

    reason: Literal["stop", "length"]
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


Step = Prefilled | Piece | CallOpened | CallPiece | CallClosed | Finished
"""The tokens of Piece and CallPiece, in their order, are all that the answer consists of."""


class Batch(Protocol):
    """One run of a model that serves the next steps of several generators."""

    @property
    def rows(self) -> Sequence[Row]:
        """Whose runs it is."""
        ...

    def run(self) -> None:
        """Run the model, once; `next` of each generator then finds its run done. After a failure each runs alone."""
        ...


class Row(Protocol):
    """The run that a generator needs for its next step, where one run of the model can serve several.

    A generator may have an attribute `row`; None where its next step needs no run, or one that cannot be shared.
    Whoever merely iterates need not know of it.
    """

    @property
    def model(self) -> object:
        """Only rows of the same model can share a run."""
        ...

    def batch(self, others: Sequence[Any]) -> Batch | None:
        """Reserve a run with as many of `others`, rows of the same model, as can go with it; None when none can.

        Never blocks. What is reserved has to be run.
        """
        ...


class LlmStream(Protocol):
    """One session's slot in the KV cache."""

    def count(self, prompt: Prompt) -> int:
        """Tokens that `prompt` takes, with the header of the answer."""
        ...

    def warm(self, prompt: Prompt, *, unfinished: bool = False) -> Generator[Prefilled, None, None]:
        """Prefill what stands before the next thing that the user adds to this prompt.

        Instructions and tools are shared with all streams; a prompt with a conversation in it is nobody else's.
        `unfinished`: the last message is still growing; its beginning is prefilled as well.
        """
        ...

    def generate(self, prompt: Prompt, sampling: Sampling) -> Generator[Step, None, None]:
        """Answer `prompt`. Only tokens behind the longest cached prefix are prefilled.

        Calls of `prompt.tools` fit their schemas. The generator may be closed after any step; what is in the cache
        then stays usable.

        Raises:
            ContextFull: the prompt leaves no room for an answer.
        """
        ...

    def close(self) -> None:
        """Give the slot back. Idempotent."""
        ...


class Llm(Protocol):
    """A language model."""

    context_tokens: int

    def check_tools(self, tools: tuple[Tool, ...]) -> None:
        """Get ready for `tools`: milliseconds the first time, then nothing.

        Raises:
            InvalidTool: a schema that answers cannot be held to; says which tool and why.
        """
        ...

    def open(self) -> LlmStream:
        """Take a slot.

        Raises:
            Overloaded: every slot is taken.
        """
        ...


class SentenceEnd(Protocol):
    """Judges from the words alone whether a sentence has come to its end."""

    def probability(self, text: str) -> float | None:
        """Probability in [0, 1] that a sentence ends where `text` does; None where there are no words."""
        ...


class Tts(Protocol):
    """Text-to-speech."""

    sample_rate_hz: int
    voices: tuple[str, ...]
    """The first is the default."""

    def speak(self, text: str, voice: str, speed: float, *, before: str = "", goes_on: bool = False) -> Iterator[PCM]:
        """Speak one clause at `sample_rate_hz`, without the silence that the model puts in front.

        `speed` 1.0 is the voice's own pace, 0.25 to 1.5. `before` is what was said of the same sentence already;
        `goes_on` says that the sentence does. Both are for the melody: neither is heard.
        """
        ...


@dataclass(frozen=True, slots=True)
class Engines:
    """What a node thinks with: one of each, shared by all sessions."""

    vad: Vad
    end_of_turn: EndOfTurn
    stt: Stt
    llm: Llm
    tts: Tts
    sentence_end: SentenceEnd | None = None
    """A second opinion on the end of a turn, where there is one."""
    names: dict[Stage, str] = field(default_factory=dict)
    """Model id by stage, as `/v1/models` and the trace show it."""
