"""What resampling and G.711 do to audio, measured beside soxr at its best quality and an ideal quantiser.

    .venv/bin/python -m tests.audio.round_trips

prints the tables of docs/figures.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from voiceedge.audio.codec import codec
from voiceedge.audio.pcm import PCM
from voiceedge.audio.resample import Resampler, resample

Samples = NDArray[np.float64]
Resampling = Callable[[PCM, int, int], PCM]
"""Takes audio, the rate it has, and the rate it shall have."""

PAIRS = ((24_000, 16_000), (16_000, 24_000), (8_000, 16_000), (24_000, 8_000))
"""What the node hears, says, hears of a telephone and says to one."""
PASS_BAND = 0.84
"""Share of the lower Nyquist frequency that our filter promises to leave as it is."""
SECONDS = 0.5
AMPLITUDE = 0.5


def theirs(audio: PCM, rate_in_hz: int, rate_out_hz: int) -> PCM:
    """soxr, "very high quality"."""
    out: PCM = soxr.resample(audio, rate_in_hz, rate_out_hz, quality="VHQ")
    return out


def tone(hz: float, rate_hz: int, amplitude: float = AMPLITUDE) -> PCM:
    """A cosine of SECONDS."""
    return (amplitude * np.cos(2 * np.pi * hz / rate_hz * np.arange(round(SECONDS * rate_hz)))).astype(np.float32)


def decibels(ratio: float) -> float:
    """An amplitude ratio in dB; what is below a double's noise counts as -300."""
    return 20 * float(np.log10(max(ratio, 1e-15)))


def rms(audio: NDArray[np.floating]) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(np.square(audio, dtype=np.float64))))


@dataclass(frozen=True, slots=True)
class Partial:
    """A tone as it is found in audio."""

    gain_db: float
    """Against AMPLITUDE."""
    delay_samples: float
    """At the audio's own rate, by the phase."""
    rest_db: float
    """All that is not the tone, against the tone that went in."""


def partial(audio: PCM, hz: float, rate_hz: int) -> Partial:
    """Find a tone (of AMPLITUDE, a cosine from sample 0) in audio, by least squares; edges are left out."""
    edge = audio.size // 5
    place = np.arange(audio.size)[edge:-edge]
    angle = 2 * np.pi * hz / rate_hz * place
    basis = np.stack((np.cos(angle), np.sin(angle)), axis=1)
    heard = audio[edge:-edge].astype(np.float64)
    weights = np.linalg.lstsq(basis, heard, rcond=None)[0]
    phase = float(np.arctan2(weights[1], weights[0]))
    return Partial(
        gain_db=decibels(float(np.hypot(*weights)) / AMPLITUDE),
        delay_samples=phase / (2 * np.pi * hz) * rate_hz,
        rest_db=decibels(rms(heard - basis @ weights) / (AMPLITUDE / np.sqrt(2))),
    )


@dataclass(frozen=True, slots=True)
class Passed:
    """What a resampling from one rate to another does."""

    level_db: float
    """Largest error of a tone's level in the pass band."""
    delay_samples: float
    """Largest delay of a tone in the pass band, at the rate that comes out."""
    aliases_db: float
    """Loudest of what must not be there: tones folded back or mirrored, against the tone that went in."""


def passed(way: Resampling, rate_in_hz: int, rate_out_hz: int) -> Passed:
    """Measure a way of resampling with tones."""
    nyquist = min(rate_in_hz, rate_out_hz) / 2
    inside = [round(share * nyquist) for share in (0.02, 0.1, 0.25, 0.4, 0.55, 0.7, PASS_BAND - 0.01)]
    found = [partial(way(tone(hz, rate_in_hz), rate_in_hz, rate_out_hz), hz, rate_out_hz) for hz in inside]
    aliases = [one.rest_db for one in found]
    if rate_in_hz > rate_out_hz:
        for hz in np.linspace(nyquist, 0.98 * rate_in_hz / 2, 9):
            folded = way(tone(float(hz), rate_in_hz), rate_in_hz, rate_out_hz)
            edge = folded.size // 5
            aliases.append(decibels(rms(folded[edge:-edge]) / (AMPLITUDE / np.sqrt(2))))
    return Passed(
        level_db=max((one.gain_db for one in found), key=abs),
        delay_samples=max((one.delay_samples for one in found), key=abs),
        aliases_db=max(aliases),
    )


def apart_db(rate_in_hz: int, rate_out_hz: int) -> float:
    """Difference between soxr's and our resampling of noise inside the pass band, against the noise."""
    nyquist = min(rate_in_hz, rate_out_hz) / 2
    spectrum = np.fft.rfft(np.random.default_rng(0).normal(0, 0.1, rate_in_hz))
    spectrum[np.fft.rfftfreq(rate_in_hz, 1 / rate_in_hz) > (PASS_BAND - 0.04) * nyquist] = 0
    noise = np.fft.irfft(spectrum).astype(np.float32)
    ours, reference = resample(noise, rate_in_hz, rate_out_hz), theirs(noise, rate_in_hz, rate_out_hz)
    edge = ours.size // 5
    return decibels(rms((ours - reference)[edge:-edge]) / rms(reference[edge:-edge]))


def by_chunks(chunk_ms: float, rate_in_hz: int, rate_out_hz: int) -> float:
    """Largest difference between noise resampled in chunks and in one piece."""
    noise = np.random.default_rng(1).uniform(-1, 1, rate_in_hz).astype(np.float32)
    size = round(chunk_ms * rate_in_hz / 1000)
    resampler = Resampler(rate_in_hz, rate_out_hz)
    parts = [resampler.push(noise[begin : begin + size]) for begin in range(0, noise.size, size)]
    whole = resample(noise, rate_in_hz, rate_out_hz)
    return float(np.abs(np.concatenate((*parts, resampler.flush())) - whole).max())


def ideal(wire_format: str) -> Callable[[PCM], Samples]:
    """The best that the 256 values of a law can do: for every sample the nearest of them."""
    values = np.unique(codec(wire_format).decoder().decode(bytes(range(256))).astype(np.float64))

    def quantise(audio: PCM) -> Samples:
        exact = audio.astype(np.float64)
        above = np.clip(np.searchsorted(values, exact), 1, values.size - 1)
        low, high = values[above - 1], values[above]
        return np.where(exact - low <= high - exact, low, high)

    return quantise


def noise_ratio_db(audio: PCM, heard: NDArray[np.floating]) -> float:
    """Signal against what has become of it."""
    return decibels(rms(audio) / rms(heard.astype(np.float64) - audio))


def law_db(wire_format: str, level_dbfs: float) -> tuple[float, float]:
    """Signal-to-noise ratio of a tone of this peak level through (our codec, the ideal quantiser)."""
    audio = tone(1_013.0, 8_000, 10 ** (level_dbfs / 20))
    law = codec(wire_format)
    ours = law.decoder().decode(law.encode(audio))
    return noise_ratio_db(audio, ours), noise_ratio_db(audio, ideal(wire_format)(audio))


def telephone(wire_format: str, hz: float) -> Partial:
    """A tone at 24 kHz, said to a telephone and heard again: 24 -> 8 kHz -> G.711 -> 8 -> 24 kHz."""
    law = codec(wire_format)
    sent = law.encode(resample(tone(hz, 24_000), 24_000, law.rate_hz))
    return partial(resample(law.decoder().decode(sent), law.rate_hz, 24_000), hz, 24_000)


def rows() -> Iterable[str]:
    """The tables, as Markdown."""
    yield "| from → to | by | level in the pass band | delay | aliases, images | apart from soxr |"
    yield "|---|---|---|---|---|---|"
    for pair in PAIRS:
        name = " → ".join(f"{rate / 1000:g}" for rate in pair) + " kHz"
        for who, way, apart in (("VoiceEdge", resample, f"{apart_db(*pair):.0f} dB"), ("soxr VHQ", theirs, "—")):
            one = passed(way, *pair)
            error, delay = f"{one.level_db:+.4f} dB", f"{abs(one.delay_samples):.4f} samples"
            yield f"| {name} | {who} | {error} | {delay} | {one.aliases_db:.0f} dB | {apart} |"
    yield ""
    yield "| G.711, a tone of | µ-law | ideal | A-law | ideal |"
    yield "|---|---|---|---|---|"
    for level in (-3, -10, -20, -30, -40):
        ratios = [f"{ratio:.1f} dB" for law in ("audio/pcmu", "audio/pcma") for ratio in law_db(law, level)]
        yield f"| {level} dBFS | {' | '.join(ratios)} |"
    yield ""
    yield "| 24 kHz → telephone → 24 kHz | level | delay | the rest |"
    yield "|---|---|---|---|"
    for law in ("audio/pcmu", "audio/pcma"):
        for hz in (300.0, 1_013.0, 3_300.0):
            one = telephone(law, hz)
            heard = f"{one.gain_db:+.3f} dB | {abs(one.delay_samples):.4f} samples | {one.rest_db:.1f} dB"
            yield f"| {law}, {hz:.0f} Hz | {heard} |"


if __name__ == "__main__":
    print("\n".join(rows()))  # noqa: T201
