"""How loud it is where nobody speaks.

A model that hears voices costs more than everything else that is done for a session in which nobody speaks. It need
not be asked about audio that is no louder than the room has been: who speaks is louder than the room.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voiceedge.audio.pcm import PCM

MARGIN_DB = 1.5
"""What is louder than the room by less is the room: frames of 32 ms of a steady noise differ by 0.3 dB (standard
deviation, white noise). A voice that adds no more is 4 dB below the noise in each of its frames."""
FAINTEST_DBFS = -80.0
"""Below, 16 bits hold nothing that could be understood (as in `engines/windows.py`): that is the room in any case."""
RISE_DB = 3.0
"""So much louder the room becomes at a time, when somebody has made sure that it is no voice: a door that slams shall
not hide the word behind it. Quieter it becomes at once."""

_MARGIN = 10.0 ** (MARGIN_DB / 10.0)
_RISE = 10.0 ** (RISE_DB / 10.0)
_FAINTEST = 10.0 ** (FAINTEST_DBFS / 10.0)


class Room:
    """The noise of one session's room.

    Two powers are compared, that of the samples and that of their differences: a voice over the hum of mains, or over
    a constant, adds little to the first and much to the second; over a hiss it is the other way round.
    """

    def __init__(self) -> None:
        self._power: NDArray[np.float32] | None = None

    def holds(self, frames: PCM) -> bool:
        """Whether `frames`, shape [frames, samples], are no louder than the room, each of them."""
        powers = _powers(frames)
        power = powers.mean(axis=1)
        if self._power is None:
            return bool((powers < _FAINTEST).all())
        quiet = bool((powers < np.maximum(self._power * _MARGIN, _FAINTEST)[:, None]).all())
        self._power = np.minimum(self._power, power)
        return quiet

    def learn(self, frames: PCM) -> None:
        """In `frames`, shape [frames, samples], nobody speaks."""
        power = _powers(frames).mean(axis=1)
        highest = power if self._power is None else np.maximum(self._power, _FAINTEST) * _RISE
        self._power = np.minimum(power, highest)


def _powers(frames: PCM) -> NDArray[np.float32]:
    """Of the samples and of their differences in each frame, shape [2, frames]."""
    powers = [np.mean(np.square(signal), axis=1) for signal in (frames, np.diff(frames, axis=1))]
    return np.asarray(powers, dtype=np.float32)
