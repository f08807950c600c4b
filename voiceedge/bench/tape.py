"""A recording of a conversation, from which every figure can be measured again: the user left, the agent right.

The file is a plain two-channel WAV, 24 kHz, 16 bit. A position on the tape is a sample of the microphone's media time:
left is what was sent, at the moment it belongs to; right is what the loudspeaker played, at the moment it played, and
digital silence in between. What was stopped ends where it was stopped. Sessions of one conversation follow each other
without a gap: while none is open there is no media time.

Beside `NAME.wav` lies `NAME.jsonl`, which says what nobody can hear: a first line about the tape (`Label`), then a line
for every turn that is over (`TapedTurn`). Lines and not one document, because both files are of use at any moment, also
after Ctrl-C or a power cut: the WAV's header is renewed every second, a turn's line is written when the turn is over.
A `cue ` chunk would have to stand behind the audio, where a cut leaves nothing.
"""

from __future__ import annotations

import logging
import wave
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Self

import msgspec
import numpy as np

from voiceedge.audio.pcm import PCM, to_int16
from voiceedge.bench.recording import WIRE_RATE_HZ
from voiceedge.bench.writable import check_writable, not_written
from voiceedge.errors import ConfigError

log = logging.getLogger(__name__)

FORMAT = "voiceedge.tape/1"
CHANNELS = ("user", "agent")
_FRAME_BYTES = 2 * len(CHANNELS)
_BLOCK_SAMPLES = WIRE_RATE_HZ
"""Written at a time: a second, 96 kB."""
LONGEST_SAMPLES = (2**32 - 2**16) // _FRAME_BYTES
"""A WAV states its size in 32 bits: 12 hours. What comes later is not on the tape, as when the disk is full."""


Position = Annotated[int, msgspec.Meta(ge=0, le=LONGEST_SAMPLES)]
"""Samples from the beginning of a tape."""


class Label(msgspec.Struct, frozen=True):
    """First line beside a tape."""

    format: str = FORMAT
    rate_hz: int = WIRE_RATE_HZ
    channels: tuple[str, ...] = CHANNELS


class TapedTurn(msgspec.Struct, frozen=True, kw_only=True):
    """Where one turn is on the tape."""

    audio: str
    """Name of the recording."""
    run: int
    session: int
    begins: Position
    """First sample of the recording."""
    last_voiced: Position
    """Time zero of the turn."""
    ends: Position
    """Behind the recording's last sample."""
    answers: tuple[Position, ...]
    """Where the first sample of each answer was played, audible or not."""
    interrupts_at: Position | None = None
    """First voiced sample, where the recording interrupts the answer before it."""
    counted: bool = True
    """False for what is said again only to keep the node busy until the others have finished."""


class Tape:
    """The tape of one conversation, written while it is held. Memory is that of two seconds, however long it gets.

    Args:
        path: The WAV file, replaced if there is one.

    Raises:
        ConfigError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("wb")
            self._turns = turns_beside(path).open("wb")
        except OSError as error:
            raise not_written(path, error) from error
        self._wav = wave.open(self._file, "wb")  # noqa: SIM115 - as long as the conversation
        self._wav.setnchannels(len(CHANNELS))
        self._wav.setsampwidth(2)
        self._wav.setframerate(WIRE_RATE_HZ)
        self._sample_at: Callable[[float], int] = _nowhere
        self._session_begins = 0
        self._ends = 0
        self._unwritten: list[bytes] = []
        self._ended = False
        # what the speaker still has to play: (position, 16-bit samples), one behind the other. Bounded by what the
        # node sends ahead of its playing
        self._to_play: deque[tuple[int, np.ndarray[tuple[int], np.dtype[np.int16]]]] = deque()
        self._to_play_ends = 0
        self._write_line(Label())
        self._wav.writeframes(b"")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what is left."""
        if self._file.closed:
            return
        self._write()
        self._wav.close()
        self._file.close()
        self._turns.close()

    def begin_session(self, sample_at: Callable[[float], int]) -> None:
        """A session begins; `sample_at` maps moments of the clock to samples of its microphone."""
        self._to_play.clear()
        self._to_play_ends = 0
        self._session_begins = self._ends
        self._sample_at = sample_at

    def position(self, moment: float) -> int:
        """Where a moment of this session is on the tape."""
        return self._session_begins + self._sample_at(moment)

    def hear_user(self, pcm16: bytes) -> None:
        """Take the next samples of the microphone; up to there the tape is made."""
        samples = len(pcm16) // 2
        stereo = np.zeros((samples, len(CHANNELS)), "<i2")
        stereo[:, 0] = np.frombuffer(pcm16, "<i2")
        self._play_into(stereo[:, 1])
        self._ends += samples
        self._unwritten.append(stereo.tobytes())
        if len(self._unwritten) * samples >= _BLOCK_SAMPLES:
            self._write()

    def play(self, audio: PCM, moment: float, *, follows: bool) -> None:
        """The speaker plays `audio` from that moment on, unless it is stopped.

        Args:
            audio: At `WIRE_RATE_HZ`.
            moment: Of its first sample.
            follows: Whether it is the next sample of what plays already: then no rounding may come between.
        """
        begins = self._to_play_ends if follows else max(self.position(moment), self._to_play_ends)
        self._to_play.append((begins, to_int16(audio)))
        self._to_play_ends = begins + len(audio)

    def stop(self, moment: float) -> None:
        """The speaker stops at that moment and forgets what it has not played."""
        end = self.position(moment)
        while self._to_play and self._to_play_ends > end:
            begins, audio = self._to_play.pop()
            self._to_play_ends = begins
            if begins < end:
                self._to_play.append((begins, audio[: end - begins]))
                self._to_play_ends = end

    def note(self, turn: TapedTurn) -> None:
        """A turn is over."""
        if not self._ended:
            self._write_line(turn)

    def _play_into(self, right: np.ndarray[tuple[int], np.dtype[np.int16]]) -> None:
        """Fill the speaker's channel from where the tape ends."""
        first, last = self._ends, self._ends + len(right)
        while self._to_play and self._to_play[0][0] < last:
            begins, audio = self._to_play.popleft()
            audio, begins = audio[max(0, first - begins) :], max(begins, first)
            fits = audio[: last - begins]
            right[begins - first : begins - first + len(fits)] = fits
            if len(fits) < len(audio):
                self._to_play.appendleft((last, audio[len(fits) :]))
                return

    def _write(self) -> None:
        block, self._unwritten = b"".join(self._unwritten), []
        room = (LONGEST_SAMPLES - self._wav.tell()) * _FRAME_BYTES
        if self._ended:
            return
        try:
            self._wav.writeframes(block[:room])
        except OSError as error:
            self._end(error.strerror or str(error))
        if room < len(block):
            self._end("a WAV file holds no more than 12 hours")

    def _write_line(self, line: Label | TapedTurn) -> None:
        try:
            self._turns.write(msgspec.json.encode(line) + b"\n")
            self._turns.flush()
        except OSError as error:
            self._end(error.strerror or str(error))

    def _end(self, why: str) -> None:
        """Record no more; the conversation goes on, and what is on the tape stays."""
        self._ended = True
        log.warning("The tape %s ends here: %s.", self.path, why)


class Tapes:
    """The tapes of a run: one for each of the conversations that are held at once, over all runs.

    Args:
        path: `NAME.wav`; where there are several conversations, `NAME-1.wav` and so on are written.
        several: Whether there are.
    """

    def __init__(self, path: Path, *, several: bool) -> None:
        self._path = path
        self._several = several
        self._tapes: dict[int, Tape] = {}

    def __enter__(self) -> Self:
        """Look whether the first tape can be written, before anybody speaks; what lies there is not touched yet.

        Raises:
            ConfigError: it cannot.
        """
        for file in (self.path_of(1), turns_beside(self.path_of(1))):
            check_writable(file)
        return self

    def __exit__(self, *_: object) -> None:
        for tape in self._tapes.values():
            tape.close()

    def path_of(self, session: int) -> Path:
        """Where the tape of a conversation lies, from 1."""
        return numbered(self._path, session) if self._several else self._path

    def of(self, session: int) -> Tape:
        """The tape of a conversation, from 1; begun when it is first asked for.

        Raises:
            ConfigError: it cannot be written.
        """
        if session not in self._tapes:
            self._tapes[session] = Tape(self.path_of(session))
        return self._tapes[session]


def numbered(path: Path, session: int) -> Path:
    """`talk-2.wav` for the second conversation of `talk.wav`."""
    return path.with_stem(f"{path.stem}-{session}")


def turns_beside(path: Path) -> Path:
    """Where the turns of a tape are stated."""
    return path.with_suffix(".jsonl")


def stated_turns(path: Path) -> tuple[TapedTurn, ...] | None:
    """Read what lies beside a tape; None where nothing does, as with a recording made by something else.

    A last line without its end is left out: there was a cut while it was written.

    Raises:
        ConfigError: it is not of this format.
    """
    beside = turns_beside(path)
    with suppress(FileNotFoundError):
        lines = beside.read_bytes().split(b"\n")[:-1]
        try:
            label = msgspec.json.decode(lines[0] if lines else b"", type=Label)
            turns = tuple(_turns(lines[1:]))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigError(f"{beside} does not state the turns of a tape: {error}") from error
        if (label.format, label.rate_hz) != (FORMAT, WIRE_RATE_HZ):
            raise ConfigError(f"{beside} is of the format {label.format}, and {FORMAT} is read here")
        return turns
    return None


def _turns(lines: Iterable[bytes]) -> Iterable[TapedTurn]:
    read = msgspec.json.Decoder(TapedTurn).decode
    return (read(line) for line in lines)


def _nowhere(moment: float) -> int:
    raise AssertionError(f"no session is open at {moment}")
