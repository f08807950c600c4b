"""The way in: wire audio to decisions about the user's turn.

decode -> resample to 16 kHz -> voice activity -> endpoint. Positions are samples at 16 kHz since the session began.

Most of the time nobody speaks, and what is done then is done fifty times a second for every session. So a message is
only put aside until it can make a difference: until a frame is complete that may decide something, or somebody wants to
read the audio. When nothing is decided later than it would be otherwise, less often is less work: code and weights that
were last used 20 ms ago have left the caches, and run at a fifth of their speed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from functools import partial
from math import ceil

from voiceedge.audio.codec import Codec, codec
from voiceedge.audio.pcm import PCM
from voiceedge.audio.resample import Resampler
from voiceedge.audio.ring import Ring
from voiceedge.audio.room import Room
from voiceedge.conversation.endpoint import GAP_FRAMES, Decision, Endpoint, EndpointSettings
from voiceedge.engines import LISTENING_RATE_HZ, Vad
from voiceedge.errors import EngineFailed, InvalidRequest, NodeError, VoiceEdgeError
from voiceedge.session.compute import Compute
from voiceedge.trace import Clock, MediaClock, now

log = logging.getLogger(__name__)

MIN_COMMIT_MS = 100
"""Least audio of a manual commit (OpenAI's rule)."""
KEPT_S = 300
"""Audio kept for transcription: the longest turn. 19 MB a session when full, and only then."""
PIECE_S = 1
"""Audio that is worked on at a time: a burst of minutes must keep neither the event loop nor the CPU from others."""
AT_ONCE_FRAMES = 4
"""So many frames are looked at in the event loop, more by the scheduler. A frame takes 0.06 ms (Silero, on one core of
a Zen 5; 0.35 ms where the caches are cold) and a hand-off to a thread and back 0.03 ms (0.3 ms); above all a frame that
waits for a thread waits for a step of an engine to end, 100 ms and more, and so does whoever wants to interrupt."""
SURE_BELOW = 0.1
"""Probability of speech below which a frame is the room."""
REMINDED_FRAMES = 3
"""So many of the frames that it has not seen the model sees before it is asked again."""
LONGEST_UNSEEN_S = 1.0
"""So often the model looks in any case, at what is no louder than the room as well."""


class Hearing:
    """What one session hears."""

    def __init__(self, vad: Vad, compute: Compute, wire_format: str, clock: Clock = now) -> None:
        self._vad = vad
        self._compute = compute
        self._clock = clock
        self._stream = vad.open()
        self._frame_begin = 0  # of the first frame that was not looked at
        self._unvoiced = GAP_FRAMES  # frames since the last one that may be speech
        self._is_deaf = False
        self._room = Room()
        self._unseen: deque[PCM] = deque(maxlen=REMINDED_FRAMES)  # by the model, since it last looked
        self._seen_until = 0
        self._endpoint: Endpoint | None = None
        self._ring = Ring(LISTENING_RATE_HZ, KEPT_S)
        self.media = MediaClock(LISTENING_RATE_HZ, clock)
        self._begin_format(wire_format)

    def set_format(self, wire_format: str) -> None:
        """Take audio in this format from now on."""
        self._keep(self._take_aside())
        self._ring.push(self._resampler.flush())  # the end of the old one, or the ring would fall behind the clock
        self._begin_format(wire_format)

    def _begin_format(self, wire_format: str) -> None:
        self._codec: Codec = codec(wire_format)
        self._decoder = self._codec.decoder()
        self._resampler = Resampler(self._codec.rate_hz, LISTENING_RATE_HZ)
        self._aside: list[bytes] = []  # messages that were not decoded; see `_is_due` for how many
        self._wire_bytes = 0
        self._wire_base = self.media.samples
        self._ring_base = self._ring.end

    def set_endpoint(self, settings: EndpointSettings | None) -> None:
        """Detect turns by these settings from now on; None: the client says where they end."""
        if settings is None:
            self._endpoint = None
        elif self._endpoint is None:
            self._endpoint = Endpoint(self._vad.frame_samples, LISTENING_RATE_HZ, settings)
            self._stream = self._vad.open()
            self._endpoint.skip_to(self.ring.end)
            self._frame_begin = self.ring.end
            self._unvoiced = GAP_FRAMES
            self._unseen.clear()
            self._seen_until = self.ring.end
        else:
            self._endpoint.settings = settings

    @property
    def endpoint(self) -> Endpoint | None:
        """The turn detection, if the client wants one."""
        return self._endpoint

    @property
    def voice_began(self) -> float:
        """When the turn that is being heard was first voiced, in seconds of the clock."""
        assert self._endpoint is not None
        return self.media.moment(self._endpoint.first_voiced)

    @property
    def ring(self) -> Ring:
        """All audio that has arrived, but for what the resampler holds back."""
        self._keep(self._take_aside())
        return self._ring

    async def listen(self, data: bytes, *, agent_audible: bool) -> AsyncIterator[Decision]:
        """Keep the audio of a message and yield what it decides, frame by frame.

        Raises:
            NodeError: voice activity failed; the audio has been kept all the same and counts as silence. Raised
                once, not at every message, until it works again.
        """
        self._arrived(len(data))
        self._aside.append(data)
        if not self._is_due():
            return
        data = self._take_aside()
        was_deaf, failure = self._is_deaf, None
        step = PIECE_S * self._codec.rate_hz * self._codec.bytes_per_sample
        for begin in range(0, len(data), step):
            if begin:
                await asyncio.sleep(0)
            self._keep(data[begin : begin + step])
            frames = self._whole_frames()
            if self._endpoint is None or not len(frames):
                continue
            try:
                if self._is_room(frames):
                    probabilities = [0.0] * len(frames)
                else:
                    probabilities = await self._look(frames)
                    self._is_deaf = False
            except NodeError as error:
                probabilities, failure = [0.0] * len(frames), error  # the endpoint's time has to go on
                self._is_deaf = True
            for probability in probabilities:
                self._unvoiced = 0 if probability >= self._endpoint.settings.threshold else self._unvoiced + 1
                for decision in self._endpoint.push(probability, agent_audible=agent_audible):
                    yield decision
        if failure is not None and not was_deaf:
            raise failure

    def moment(self, sample: int) -> float:
        """When a 16 kHz sample arrived, in seconds of the clock."""
        return self.media.moment(sample)

    def _arrived(self, size_bytes: int) -> None:
        """Note that so much of the wire's audio came now."""
        self._wire_bytes += size_bytes
        position = self._wire_base + self._wire_samples * LISTENING_RATE_HZ // self._codec.rate_hz
        self.media.arrived(position - self.media.samples)

    @property
    def _wire_samples(self) -> int:
        return self._wire_bytes // self._codec.bytes_per_sample

    def _is_due(self) -> bool:
        """Whether what was put aside completes so many frames that they can decide something."""
        reach = self._ring_base + self._resampler.ready(self._wire_samples)
        return reach - self._frame_begin >= self._fewest_frames() * self._vad.frame_samples

    def _fewest_frames(self) -> int:
        """Frames that have to be complete before anything can be decided.

        While nobody speaks and nothing may be speech, that is as many as are needed for evidence of it, wherever in
        them it begins: if only the last ones are voiced, those that come then are looked at one by one.
        """
        endpoint = self._endpoint
        if endpoint is not None and not self._is_quiet:
            return 1
        settings = EndpointSettings() if endpoint is None else endpoint.settings
        evidence = min(settings.evidence_ms, settings.evidence_speaking_ms) * LISTENING_RATE_HZ // 1000
        return min(max(1, ceil(evidence / self._vad.frame_samples)), AT_ONCE_FRAMES)

    @property
    def _is_quiet(self) -> bool:
        """Whether nobody speaks, and nothing of late may have been speech."""
        endpoint = self._endpoint
        return endpoint is not None and not endpoint.is_hearing and self._unvoiced >= GAP_FRAMES

    def _is_room(self, frames: PCM) -> bool:
        """Whether `frames` are no louder than the room, while nobody speaks; then the model need not see them."""
        if not (self._is_quiet and len(frames) <= AT_ONCE_FRAMES and self._room.holds(frames)):
            return False
        if self._frame_begin - self._seen_until > LONGEST_UNSEEN_S * LISTENING_RATE_HZ:
            return False
        self._unseen.extend(frames)
        return True

    def _take_aside(self) -> bytes:
        """Take what was put aside."""
        data = b"".join(self._aside)
        self._aside.clear()
        return data

    def _keep(self, data: bytes) -> None:
        if data:
            self._ring.push(self._resampler.push(self._decoder.decode(data)))

    def _whole_frames(self) -> PCM:
        """The frames that have become complete, shape [frames, samples]; the rest waits for more audio."""
        size = self._vad.frame_samples
        count = (self._ring.end - self._frame_begin) // size
        begin, self._frame_begin = self._frame_begin, self._frame_begin + count * size
        return self._ring.read(begin, self._frame_begin).reshape(count, size)

    async def _look(self, frames: PCM) -> list[float]:
        """The probability of speech in each frame.

        Raises:
            NodeError: voice activity failed, or too much waits for the scheduler.
        """
        if len(frames) > AT_ONCE_FRAMES:
            look = partial(self._probabilities, frames)
            return await self._compute.run(look, deadline=self._clock(), name="vad")
        try:
            return self._probabilities(frames)
        except VoiceEdgeError:
            raise
        except BaseException as error:  # as the scheduler does: not even a panic may end the session
            log.log(logging.DEBUG if self._is_deaf else logging.WARNING, "Voice activity failed.", exc_info=True)
            raise EngineFailed(f"An engine failed ({type(error).__name__}).") from error  # its text may quote the user

    def _probabilities(self, frames: PCM) -> list[float]:
        # what it has not seen of late it sees now: its memory, which judges these, must not be a second old
        for frame in self._unseen:
            self._stream.probability(frame)
        self._unseen.clear()
        self._seen_until = self._frame_begin
        probabilities = [self._stream.probability(frame) for frame in frames]
        if max(probabilities) < SURE_BELOW:
            self._room.learn(frames)
        return probabilities


def require_enough(samples: int) -> None:
    """Let a client commit so many 16 kHz samples by hand.

    Raises:
        InvalidRequest: less than `MIN_COMMIT_MS`.
    """
    if milliseconds(samples) < MIN_COMMIT_MS:
        raise InvalidRequest(
            f"Error committing input audio buffer: buffer too small. Expected at least {MIN_COMMIT_MS}ms of audio, "
            f"but buffer only has {milliseconds(samples)}ms of audio.",
            code="input_audio_buffer_commit_empty",
        )


def milliseconds(samples: int) -> int:
    """16 kHz samples as milliseconds."""
    return samples * 1000 // LISTENING_RATE_HZ
