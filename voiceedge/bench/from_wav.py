"""Measures a recorded conversation again, from the last voiced sample on the left to the first audible on the right.

With a tape of the bench (`bench/tape`) what lies beside it says which recording begins where, where its user's speech
ends, and where each answer begins; what is heard, and when, is taken from the sound alone. Of any other stereo WAV,
with the user on the left and the agent on the right, the utterances are found by their level.
"""

from __future__ import annotations

import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voiceedge.audio.pcm import AUDIBLE_DBFS, PCM, PCM16_SCALE, WINDOW_S, first_audible
from voiceedge.bench.exchange import PROBLEMS, Problem
from voiceedge.bench.recording import voiced_frames
from voiceedge.bench.report import BenchReport
from voiceedge.bench.row import TurnRow
from voiceedge.bench.tape import TapedTurn, stated_turns
from voiceedge.errors import AudioUnreadable
from voiceedge.trace import MILLISECONDS_A_SECOND

SEPARATE_S = 2.0
"""Quiet of the user that separates two utterances, where nobody states them: longer than a pause of thought, shorter
than an answer and what is around it."""
_READ_S = 60
"""Audio looked at in one piece: a tape may be 12 hours long."""
_FRAME_BYTES = 4
"""A sample of either channel."""
_QUIET_S = 0.2
"""An answer has ended, or paused, when so much of it cannot be heard."""


def bench_from_wav(path: Path) -> BenchReport:
    """Measure a recording of conversations: 16-bit WAV, two channels, the user on the left.

    Rows hold the client's side only. An answer that is missing on the tape is `no_answer`, whatever the reason. Where
    an answer was interrupted, `barge_in_ms` ends with its last audible sample.

    Raises:
        AudioUnreadable: it is no such file.
        ConfigError: what lies beside it is broken.
    """
    with _opened(path) as tape:
        stated = stated_turns(path)
        turns = _found_turns(tape) if stated is None else stated
        rows = tuple(_rows(tape, turns, answers_stated=stated is not None))
        about = {"from_wav": str(path), "rate_hz": tape.rate_hz, "seconds": round(tape.samples / tape.rate_hz, 3)}
    about["utterances"] = "found by level" if stated is None else "stated beside the tape"
    return BenchReport(about, rows)


class _Tape:
    """Random access to the two channels of a file."""

    def __init__(self, wav: wave.Wave_read, size_bytes: int) -> None:
        self._wav = wav
        self.rate_hz = wav.getframerate()
        self.window = round(self.rate_hz * WINDOW_S)
        self.samples = min(wav.getnframes(), size_bytes // _FRAME_BYTES)  # the header may promise hours

    def user(self, begin: int, end: int) -> PCM:
        """What the user's side holds in samples [begin, end), as far as there is a tape."""
        return self._read(begin, end)[:, 0]

    def agent(self, begin: int, end: int) -> PCM:
        """The same of the agent's side."""
        return self._read(begin, end)[:, 1]

    def _read(self, begin: int, end: int) -> NDArray[np.float32]:
        begin = min(max(begin, 0), self.samples)
        self._wav.setpos(begin)
        data = self._wav.readframes(max(0, min(end, self.samples) - begin))
        whole = len(data) // _FRAME_BYTES * _FRAME_BYTES  # a file that was cut off may end within a sample
        return np.frombuffer(data[:whole], "<i2").reshape(-1, 2).astype(np.float32) / np.float32(PCM16_SCALE)


@contextmanager
def _opened(path: Path) -> Iterator[_Tape]:
    try:
        with wave.open(str(path), "rb") as wav:
            if (wav.getnchannels(), wav.getsampwidth()) != (2, 2):
                raise AudioUnreadable(f"{path} has not two channels of 16 bits: the user left, the agent right")
            tape = _Tape(wav, path.stat().st_size)
            if tape.window < 1:
                raise AudioUnreadable(f"{path} has {tape.rate_hz} samples a second, in which nobody can be heard")
            yield tape
    except OSError as error:
        raise AudioUnreadable(f"Cannot read {path}: {error.strerror or error}") from error
    except (wave.Error, EOFError, RuntimeError) as error:  # the last where a chunk reaches beyond the file
        raise AudioUnreadable(f"{path} is no WAV file of 16-bit PCM: {error}") from error


@dataclass(frozen=True, slots=True)
class _Heard:
    """An answer as it sounds: samples of the tape."""

    begins: int
    """Where its audio begins, audible or not."""
    audible: int
    """The first audible sample."""


def _rows(tape: _Tape, turns: tuple[TapedTurn, ...], *, answers_stated: bool) -> Iterator[TurnRow]:
    for place, turn in enumerate(turns):
        until = turns[place + 1].begins if place + 1 < len(turns) else tape.samples
        if not turn.counted:
            continue
        answers = _stated_answers(tape, turn, until) if answers_stated else _found_answers(tape, turn, until)
        yield _row(tape, turn, [answer for answer in answers if answer is not None], until)


def _row(tape: _Tape, turn: TapedTurn, heard: list[_Heard], until: int) -> TurnRow:
    in_time = [answer for answer in heard if answer.audible >= turn.last_voiced]
    answer = in_time[0] if in_time else None
    found: dict[Problem, bool] = {
        "no_answer": not heard,
        "talked_over": len(in_time) < len(heard),
        "double_answer": len(in_time) > 1,
    }
    stopped = None
    if turn.interrupts_at is not None:
        stopped = _last_sound(tape, turn.interrupts_at, heard[0].begins if heard else until)

    def ms(samples: int) -> float:
        return samples * MILLISECONDS_A_SECOND / tape.rate_hz

    return TurnRow(
        audio=turn.audio,
        expected_text=None,
        user_text="",
        agent_text="",
        client_v2v_ms=None if answer is None else ms(answer.audible - turn.last_voiced),
        server_v2v_ms=None,
        critical_path=(),
        marks_ms={},
        facts={},
        leading_silence_ms=None if answer is None else ms(answer.audible - max(answer.begins, turn.last_voiced)),
        problems=tuple(problem for problem in PROBLEMS if found.get(problem)),
        errors=(),
        responses=len(heard),
        send_lag_ms=0.0,
        run=turn.run,
        session=turn.session,
        interrupts=turn.interrupts_at is not None,
        barge_in_ms=None if turn.interrupts_at is None or stopped is None else ms(stopped - turn.interrupts_at),
    )


def _stated_answers(tape: _Tape, turn: TapedTurn, until: int) -> list[_Heard | None]:
    return [_answer(tape, begin, end) for begin, end in pairwise((*turn.answers, until))]


def _answer(tape: _Tape, begin: int, end: int) -> _Heard | None:
    """The answer whose audio begins at `begin`, if anything of it can be heard before `end`."""
    step = _READ_S * tape.rate_hz
    for first in range(begin, end, step):
        audible = first_audible(tape.agent(first, min(first + step, end)), tape.rate_hz)
        if audible is not None:
            return _Heard(begin, first + audible)
    return None


def _last_sound(tape: _Tape, begin: int, end: int) -> int | None:
    """Behind the last sample of [begin, end) at which the agent can be heard."""
    audible = np.flatnonzero(_audible(tape, begin, end))
    if audible.size == 0:
        return None
    window = begin + int(audible[-1]) * tape.window
    sound = np.flatnonzero(tape.agent(window, window + tape.window))  # what was stopped ends in digital silence
    return window + int(sound[-1]) + 1


def _audible(tape: _Tape, begin: int, end: int) -> NDArray[np.bool_]:
    """Whether each 10 ms of the agent's side from `begin` on can be heard, shape [windows]."""
    step = _READ_S * tape.rate_hz // tape.window * tape.window
    pieces = [_levels(tape.agent(first, min(first + step, end)), tape.window) for first in range(begin, end, step)]
    return np.concatenate([np.zeros(0), *pieces]) > AUDIBLE_DBFS


# ── utterances that nobody states ─────────────────────────────────────────────────────────────────────────


def _found_turns(tape: _Tape) -> tuple[TapedTurn, ...]:
    """Utterances on the user's side, by level; a pause shorter than `SEPARATE_S` belongs to one.

    Raises:
        AudioUnreadable: there is no speech.
    """
    step = _READ_S * tape.rate_hz // tape.window * tape.window
    pieces = [_levels(tape.user(first, first + step), tape.window) for first in range(0, tape.samples, step)]
    levels = np.concatenate([np.zeros(0), *pieces])
    voiced = voiced_frames(levels)
    if voiced.size == 0:
        raise AudioUnreadable("the left channel holds no speech")
    gaps = np.flatnonzero(np.diff(voiced) > SEPARATE_S / WINDOW_S)
    firsts = voiced[np.append(0, gaps + 1)]
    return tuple(
        _found_turn(number, int(first), levels[first:until], tape.window)
        for number, (first, until) in enumerate(zip(firsts, [*firsts[1:], levels.size], strict=True), start=1)
    )


def _found_turn(number: int, first: int, levels: NDArray[np.float64], window: int) -> TapedTurn:
    """The utterance that begins with the frame `first`, judged by its own loudness: people move."""
    last_voiced = (first + int(voiced_frames(levels)[-1]) + 1) * window
    return TapedTurn(
        audio=f"utterance {number}",
        run=1,
        session=1,
        begins=first * window,
        last_voiced=last_voiced,
        ends=last_voiced,
        answers=(),
    )


def _levels(audio: PCM, window: int) -> NDArray[np.float64]:
    """Level of every 10 ms in dBFS, shape [windows]; less than that at the end is left out."""
    whole = audio[: len(audio) // window * window].reshape(-1, window).astype(np.float64)
    levels: NDArray[np.float64] = 10.0 * np.log10(np.mean(whole**2, axis=1) + 1e-12)
    return levels


def _found_answers(tape: _Tape, turn: TapedTurn, until: int) -> list[_Heard | None]:
    """What begins to sound while the user speaks, and the first thing that does behind it.

    Nobody can tell by the sound alone whether what comes after a silence is a second answer or the rest of the first,
    so no second one is looked for.
    """
    return [_onset(tape, turn.begins, turn.last_voiced), _onset(tape, turn.last_voiced, until)]


def _onset(tape: _Tape, begin: int, end: int) -> _Heard | None:
    """Where the agent begins to sound in [begin, end); what sounds already has to fall quiet first."""
    if first_audible(tape.agent(begin - tape.window, begin), tape.rate_hz) is not None:
        audible = _audible(tape, begin, end)
        needed = round(_QUIET_S / WINDOW_S)
        quiet = np.convolve(~audible, np.ones(needed), "valid") == needed if audible.size >= needed else np.zeros(0)
        if not quiet.any():
            return None
        begin += int(np.flatnonzero(quiet)[0]) * tape.window
    for first in range(begin, end, _READ_S * tape.rate_hz):
        piece = tape.agent(first, min(first + _READ_S * tape.rate_hz, end))
        sound = np.flatnonzero(piece)  # windows lie side by side from the first sample that is not digital silence
        if sound.size and (found := first_audible(piece[sound[0] :], tape.rate_hz)) is not None:
            return _Heard(first + int(sound[0]), first + int(sound[0]) + found)
    return None
