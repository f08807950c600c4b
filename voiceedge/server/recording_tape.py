"""Where on a recording every sample lies: the user left, the agent right, both in the session's media time.

Left is all that came, one sample after another, as the session counts it: so `audio_start_ms` of its events is a place
on the recording. Only where nothing came for a while is the pause put in, as silence. Right is what was sent, from the
moment it was handed to the socket, and never before what the user had said by then; what follows plays without a gap,
as on the node's own playout clock. What the user has not heard, because they or their client stopped it, is not there.

Nothing here reads a clock, a file or a socket. Positions are samples at `RATE_HZ` from the recording's beginning.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from voiceedge.audio.codec import Codec, Decoder, codec
from voiceedge.audio.pcm import PCM, to_int16
from voiceedge.audio.resample import Resampler
from voiceedge.session.listening import SILENT_CLIENT_S

Samples = NDArray[np.int16]

RATE_HZ = 24_000
"""The wire's own rate; telephone formats are brought up to it."""
LONGEST_PAUSE_S = 30.0
"""A longer one in which nobody says anything is shortened to this."""
KEPT_S = 10.0
"""So long a stretch may still change, and is held in memory: 1 MB. An answer is sent up to 8 s ahead of its playing,
and how much of it was heard is known when the client says so."""


@dataclass(slots=True)
class _Part:
    """A stretch of an answer without a gap."""

    response_id: str
    item_id: str
    begin: int
    offset: int
    """Samples of its item before it."""
    audio: Samples

    @property
    def end(self) -> int:
        return self.begin + len(self.audio)


@dataclass(slots=True)
class _Voice:
    """One answer's way onto the recording."""

    codec: Codec
    decoder: Decoder
    resampler: Resampler
    end: int = 0
    """Behind its last sample."""
    said: dict[str, int] = field(default_factory=dict)
    """Samples by item."""


class Tape:
    """What is not written yet, and where it belongs."""

    def __init__(self) -> None:
        self._left: list[Samples] = []  # without a gap, from `_taken` on
        self._left_end = 0
        self._heard = 0  # behind the user's audio, with what the resampler holds back
        self._runs_out: float | None = None  # when that would have been spoken; None before any audio
        self._wire: tuple[str, Decoder, Resampler] | None = None
        self._parts: deque[_Part] = deque()
        self._voices: dict[str, _Voice] = {}
        self._taken = 0
        self._quiet_from = 0  # behind the last sample that anybody has said
        self.left_out_s = 0.0
        """Seconds of long pauses that are not on the recording."""

    def place(self, at: float) -> int:
        """Where a moment is, in seconds of the clock: behind all that had been heard by then."""
        if self._runs_out is None:
            return 0
        return self._heard + max(0, round((at - self._runs_out) * RATE_HZ))

    @property
    def end(self) -> int:
        """Behind the last sample of all."""
        return max(self._heard, self._taken, *(part.end for part in self._parts), 0)

    # ── the user ──────────────────────────────────────────────────────────────────────────────────────

    def hear(self, wire_format: str, data: bytes, at: float) -> None:
        """Take audio that has arrived, at this moment."""
        if self._wire is None or self._wire[0] != wire_format:
            self._complete_left()
            form = codec(wire_format)
            self._wire = (wire_format, form.decoder(), Resampler(form.rate_hz, RATE_HZ))
        _, decoder, resampler = self._wire
        audio = decoder.decode(data)
        samples = len(audio) * RATE_HZ // resampler.rate_in_hz
        begin = at - samples / RATE_HZ
        if self._runs_out is None:
            self._runs_out = begin
        self._shorten_pause(begin)
        gap_s = begin - self._runs_out
        if gap_s > SILENT_CLIENT_S or (gap_s > 0 and not self._heard):  # who has said nothing yet is cut off nowhere
            self._pause(round(gap_s * RATE_HZ))
        self._runs_out = max(self._runs_out, begin) + samples / RATE_HZ
        self._heard += samples
        self._quiet_from = max(self._quiet_from, self._heard)
        self._keep(resampler.push(audio))

    def _pause(self, samples: int) -> None:
        assert self._runs_out is not None
        self._complete_left()
        self._append(np.zeros(samples, np.int16))
        self._heard += samples
        self._runs_out += samples / RATE_HZ

    def _shorten_pause(self, at: float) -> None:
        """Let no time have passed beyond the longest pause, if nobody said anything."""
        if self._runs_out is None:
            return
        too_long_s = (self.place(at) - self._quiet_from) / RATE_HZ - LONGEST_PAUSE_S
        if too_long_s > 0:
            self._runs_out += too_long_s
            self.left_out_s += too_long_s

    def _complete_left(self) -> None:
        """Take what the resampler holds back."""
        if self._wire is not None:
            self._keep(self._wire[2].flush())

    def _keep(self, audio: PCM) -> None:
        self._append(to_int16(audio)[: self._heard - self._left_end])

    def _append(self, samples: Samples) -> None:
        self._left.append(samples)
        self._left_end += len(samples)

    # ── the agent ─────────────────────────────────────────────────────────────────────────────────────

    def say(self, response_id: str, item_id: str, wire_format: str, data: bytes, at: float) -> None:
        """Take audio that is handed to the socket, at this moment."""
        if self._runs_out is None:
            self._runs_out = at
        self._shorten_pause(at)
        voice = self._voices.get(response_id)
        if voice is None:
            form = codec(wire_format)
            voice = _Voice(form, form.decoder(), Resampler(form.rate_hz, RATE_HZ))
            self._voices[response_id] = voice
        voice.end = max(voice.end, self.place(at))
        self._play(voice, response_id, item_id, voice.resampler.push(voice.decoder.decode(data)))

    def finish(self, response_id: str, item_id: str | None = None) -> None:
        """An answer has no more sound; with `item_id` only that item of it, whose end is still taken."""
        voice = self._voices.get(response_id)
        if voice is None:
            return
        if item_id is not None:
            self._play(voice, response_id, item_id, voice.resampler.flush())
        else:
            del self._voices[response_id]

    def _play(self, voice: _Voice, response_id: str, item_id: str, audio: PCM) -> None:
        if not len(audio):
            return
        offset = voice.said.get(item_id, 0)
        self._parts.append(_Part(response_id, item_id, voice.end, offset, to_int16(audio)))
        voice.said[item_id] = offset + len(audio)
        voice.end += len(audio)
        self._quiet_from = max(self._quiet_from, voice.end)

    def stop(self, at: float, response_id: str | None = None, *, spared: frozenset[str] = frozenset()) -> float:
        """Nothing is heard from this moment on of an answer, or of all but those that are spared.

        Returns:
            Seconds that were to come.
        """
        place = self.place(at)

        def heard(part: _Part) -> int:
            is_meant = part.response_id == response_id if response_id is not None else part.response_id not in spared
            return place - part.begin if is_meant else len(part.audio)

        return self._shorten(heard)

    def truncate(self, item_id: str, heard_ms: float) -> float:
        """The client says how much of an item was heard; what has been written already stays.

        Returns:
            Seconds more that were not heard.
        """
        limit = round(heard_ms * RATE_HZ / 1000)
        return self._shorten(lambda part: limit - part.offset if part.item_id == item_id else len(part.audio))

    def _shorten(self, heard: Callable[[_Part], int]) -> float:
        """Keep so many samples of each part; returns seconds that were dropped."""
        dropped = 0
        for part in self._parts:
            kept = min(max(heard(part), self._taken - part.begin, 0), len(part.audio))
            dropped += len(part.audio) - kept
            part.audio = part.audio[:kept]
        self._parts = deque(part for part in self._parts if len(part.audio))
        for response_id, voice in self._voices.items():
            voice.end = max((part.end for part in self._parts if part.response_id == response_id), default=0)
        return dropped / RATE_HZ

    # ── to the file ───────────────────────────────────────────────────────────────────────────────────

    def take(self, at: float) -> Samples:
        """What cannot change any more by this moment, at least a second of it or none; shape [samples, 2]."""
        self._shorten_pause(at)
        until = self.place(at) - round(KEPT_S * RATE_HZ)
        return self._take(until) if until - self._taken >= RATE_HZ else np.zeros((0, 2), "<i2")

    def take_all(self) -> Samples:
        """The rest, shape [samples, 2]: also what was sent and would have been heard after this."""
        return self._take(self.end)

    def _take(self, until: int) -> Samples:
        if until > self._heard:
            self._pause(until - self._heard)
        if until > self._left_end:
            self._complete_left()
        frames: Samples = np.zeros((until - self._taken, 2), "<i2")
        left = np.concatenate([np.zeros(0, np.int16), *self._left])
        frames[:, 0] = left[: len(frames)]
        self._left = [left[len(frames) :]]
        right = np.zeros(len(frames), np.int32)
        for part in self._parts:
            begin, end = max(part.begin, self._taken), min(part.end, until)
            if begin < end:
                right[begin - self._taken : end - self._taken] += part.audio[begin - part.begin : end - part.begin]
        frames[:, 1] = np.clip(right, -(2**15), 2**15 - 1)
        self._taken = until
        while self._parts and self._parts[0].end <= until:
            self._parts.popleft()
        return frames
