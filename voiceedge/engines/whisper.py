"""Speech-to-text with Whisper on CTranslate2, encoding no more than what was said.

Whisper was trained on windows of 30 s, and the usual way pads every utterance to that length: the encoder then
works ten times longer than it has to. Here a window is as long as its audio and a second of silence. The decoder
knows that nothing follows by the silence that it finds behind the words; with a second of it, it often goes on and
repeats itself. Silence always sounds the same, though: it is encoded once, when the model is loaded, and what it
gave is put behind what every utterance gives.

CTranslate2 starts OpenMP threads only for `threads` > 1. They spin while they wait (GOMP_SPINCOUNT and
OMP_WAIT_POLICY=passive are read when the library is loaded, before this module could say anything), and one
thread decodes faster than two anyway: leave it at one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, exp
from pathlib import Path

import ctranslate2
import numpy as np
import tokenizers
from numpy.typing import NDArray

from voiceedge.audio.pcm import PCM, first_audible, last_audible, level_dbfs
from voiceedge.engines import LISTENING_RATE_HZ, Segment
from voiceedge.engines.mel import FRAMES_A_SECOND, HOP_SAMPLES, log_mel
from voiceedge.engines.repeats import count_said, find_repeats
from voiceedge.errors import ConfigError, ModelCorrupt, ModelMissing

WINDOW_S = 30
"""What the model's position embeddings can hold."""
TAIL_S = 1.0
"""Silence behind the audio, which tells the decoder that nothing follows."""
SHORTEST_WINDOW_S = 5.0
"""What the encoder is given at least: in less it mishears."""
SHORTEST_WINDOW_BRIEF_S = 8.0
"""The same for a word or two, which have no neighbours to be understood by."""
BRIEF_S = 2.0
"""Audible stretch up to which an utterance is a word or two."""
SILENCE_S = 10.0
"""Silence that the decoder finds behind the audio in all, encoded or put there: with little of it, it runs in circles,
and more than this changes nothing (docs/words.md)."""
LOOPED_WINDOW_FACTOR = 2.0
"""When the decoder repeats itself all the same, it tries once more in a window so many times as long."""
LONGEST_AUDIO_S = WINDOW_S - TAIL_S
EARLIEST_CUT_S = 19.0
"""Long audio is cut at the quietest place between here and `LONGEST_AUDIO_S`."""
QUIET_S = 0.2
"""Length of the place that is looked for: a short pause."""

TOKENS_A_SECOND = 10.0
"""More than the fastest speaker needs (about 7); bounds what a loop can cost."""
TOKENS_TO_SPARE = 8
MOST_TOKENS = 224
"""Half of the decoder's 448 positions, as openai/whisper's `sample_len`."""

SECONDS_A_POSITION = 0.02
"""The encoder halves the mel frames."""

LEVEL_SAMPLES = LISTENING_RATE_HZ // 10
"""Stretch over which the level of a voice is taken: a syllable."""
FAINT_DBFS = -40.0
"""Speech whose loudest syllable is below is raised, to `RAISED_TO_DBFS`: else what is quietest in it would pass for
silence (`audio.pcm.AUDIBLE_DBFS`)."""
RAISED_TO_DBFS = -20.0
FAINTEST_DBFS = -80.0
"""Below, 16 bits hold nothing that could be understood."""

NO_SPEECH_ODDS = 2.0
"""Nothing was said when that is so many times as likely as the words are (mean token probability). One test in place of
openai/whisper's two (no-speech above 0.6, log probability below -1.0; they meet at odds of 1.6), which lose single
words: without neighbours the model is never sure of them. docs/words.md has the odds of noise."""


@dataclass(frozen=True, slots=True)
class _Heard:
    """What the decoder made of a window."""

    tokens: tuple[int, ...]
    """Without what it repeated on its own account."""
    decoded: int
    """Tokens before that was cut."""
    mean_log_probability: float
    no_speech_probability: float

    @property
    def looped(self) -> bool:
        """Whether the decoder ran in circles."""
        return len(self.tokens) < self.decoded


class Whisper:
    """The weights and the vocabulary; an utterance leaves nothing behind."""

    def __init__(self, folder: Path, *, language: str = "en", threads: int = 1, compute_type: str = "int8") -> None:
        """Load a CTranslate2 model from `folder` (model.bin, config.json, tokenizer.json, vocabulary.*).

        `language` only matters to a multilingual model. `compute_type` is CTranslate2's.

        Raises:
            ModelMissing: a file is missing.
            ModelCorrupt: a file cannot be loaded.
            ConfigError: the model does not know the language.
        """
        for name in ("model.bin", "config.json", "tokenizer.json"):
            if not (folder / name).is_file():
                raise ModelMissing(f"{folder / name} is missing")
        try:
            self._model = ctranslate2.models.Whisper(
                str(folder), device="cpu", compute_type=compute_type, inter_threads=1, intra_threads=threads
            )
            self._vocabulary = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # both libraries raise whatever they like for a damaged file
            raise ModelCorrupt(f"cannot load the Whisper model in {folder}: {error}") from error
        start = ["<|startoftranscript|>"]
        if self._model.is_multilingual:
            start += [f"<|{language}|>", "<|transcribe|>"]
        elif language != "en":
            raise ConfigError(f"the speech-to-text model in {folder} only knows English, not {language!r}")
        # without timestamps: two tokens less to decode, 7 to 12 ms
        self._start = [self._token(name, language) for name in start]
        self._prompt = [*self._start, self._token("<|notimestamps|>", language)]
        self._silence = self._encode(np.zeros(WINDOW_S * LISTENING_RATE_HZ, dtype=np.float32))

    def transcribe(self, audio: PCM, earlier: Sequence[Segment] = ()) -> Iterator[Segment]:
        """Transcribe an utterance of any length at 16 kHz, a segment a window of at most 30 s.

        Greedy. Silence and noise give segments with empty text.
        """
        del earlier
        for window in _windows(audio):
            yield self._segment(window)

    def _segment(self, audio: PCM) -> Segment:
        audio = _raised(audio)
        first, last = first_audible(audio, LISTENING_RATE_HZ), last_audible(audio, LISTENING_RATE_HZ)
        if first is None or last is None:
            return Segment("", no_speech_probability=1.0)
        audible_s = (first / LISTENING_RATE_HZ, (last + 1) / LISTENING_RATE_HZ)
        brief = audible_s[1] - audible_s[0] <= BRIEF_S
        window = _pad(audio, SHORTEST_WINDOW_BRIEF_S if brief else SHORTEST_WINDOW_S)
        heard = self._listen(audio, window, audible_s)
        if heard.looped:
            heard = self._listen(audio, _pad(audio, LOOPED_WINDOW_FACTOR * window.size / LISTENING_RATE_HZ), audible_s)
        text = self._vocabulary.decode(list(heard.tokens)).strip()
        if _is_nothing(text, heard):
            text = ""
        return Segment(text, heard.mean_log_probability, heard.no_speech_probability, heard.decoded)

    def _listen(self, audio: PCM, window: PCM, audible_s: tuple[float, float]) -> _Heard:
        """Encode and decode `window`, which begins with `audio`, and cut off what the decoder only repeats."""
        encoded = self._encode(window)
        # silence has places in time as well: take what lies where the window ends
        positions = round((audio.size / LISTENING_RATE_HZ + SILENCE_S) / SECONDS_A_POSITION)
        encoded = np.concatenate([encoded, self._silence[:, encoded.shape[1] : positions]], axis=1)
        features = ctranslate2.StorageView.from_array(encoded)
        most_tokens = min(MOST_TOKENS, round(audio.size / LISTENING_RATE_HZ * TOKENS_A_SECOND) + TOKENS_TO_SPARE)
        (result,) = self._model.generate(
            features,
            [self._prompt],
            beam_size=1,
            # CTranslate2 decodes half of `max_length` tokens, as openai/whisper does
            max_length=2 * most_tokens,
            return_scores=True,
            return_no_speech_prob=True,
        )
        tokens = tuple(result.sequences_ids[0])
        words = [self._word(token) for token in tokens]
        if len(tokens) >= most_tokens or find_repeats(words) is not None:
            starts_s, log_probabilities = self._places(features, tokens, window.size // HOP_SAMPLES)
            kept = count_said(words, starts_s, audible_s)
            if kept < len(tokens):
                # a decoder that runs in circles is sure of every copy: only what is kept is judged
                mean = float(np.mean(log_probabilities[:kept])) if kept else 0.0
                return _Heard(tokens[:kept], len(tokens), mean, result.no_speech_prob)
        # the score is the mean over the tokens of a sum that also counts the end token
        mean = result.scores[0] * len(tokens) / (len(tokens) + 1)
        return _Heard(tokens, len(tokens), mean, result.no_speech_prob)

    def _encode(self, window: PCM) -> NDArray[np.float32]:
        """What the encoder makes of a window, shape [1, positions, width]."""
        mel = np.ascontiguousarray(log_mel(window)[None])
        return np.array(self._model.encode(ctranslate2.StorageView.from_array(mel)))

    def _places(
        self, features: ctranslate2.StorageView, tokens: tuple[int, ...], frames: int
    ) -> tuple[list[float], NDArray[np.float64]]:
        """Where each token begins, in seconds, and its log probability: one pass over all of them (10 to 15 ms).

        `frames` is the length of the window in mel frames: in the silence behind it nothing has a place.
        """
        (aligned,) = self._model.align(features, self._start, [list(tokens)], [frames])
        starts: dict[int, float] = {}
        for token, position in aligned.alignments:
            starts.setdefault(token, position * SECONDS_A_POSITION)
        end_s = frames / FRAMES_A_SECOND
        probabilities = np.asarray(aligned.text_token_probs[: len(tokens)], dtype=np.float64)
        return [starts.get(token, end_s) for token in range(len(tokens))], np.log(np.maximum(probabilities, 1e-10))

    def _word(self, token: int) -> str:
        """A token as repeats are compared: without case, space and punctuation."""
        text = self._vocabulary.decode([token]).lower()
        return "".join(character for character in text if character.isalnum())

    def _token(self, name: str, language: str) -> int:
        token = self._vocabulary.token_to_id(name)
        if token is None:
            raise ConfigError(f"the speech-to-text model knows no {name}; is the language {language!r} right?")
        return int(token)


def _pad(audio: PCM, shortest_s: float) -> PCM:
    """`audio` followed by silence up to the length of its window."""
    seconds = max(audio.size / LISTENING_RATE_HZ + TAIL_S, shortest_s)
    # whole tenths of a second, so that memory is allocated in few different sizes
    samples = min(ceil(seconds * 10) * LISTENING_RATE_HZ // 10, WINDOW_S * LISTENING_RATE_HZ)
    padded = np.zeros(samples, dtype=np.float32)
    padded[: audio.size] = audio
    return padded


def _raised(audio: PCM) -> PCM:
    """`audio`, louder if it comes from a microphone that is turned down."""
    stretches = audio[: audio.size // LEVEL_SAMPLES * LEVEL_SAMPLES].reshape(-1, LEVEL_SAMPLES)
    if not stretches.size:
        return audio
    loudest_dbfs = level_dbfs(stretches[np.square(stretches).sum(axis=1).argmax()])
    if not FAINTEST_DBFS < loudest_dbfs < FAINT_DBFS:
        return audio
    return audio * np.float32(10.0 ** ((RAISED_TO_DBFS - loudest_dbfs) / 20.0))


def _windows(audio: PCM) -> Iterator[PCM]:
    """Pieces of `audio` that a window can hold, cut where it is quietest."""
    longest = round(LONGEST_AUDIO_S * LISTENING_RATE_HZ)
    earliest = round(EARLIEST_CUT_S * LISTENING_RATE_HZ)
    quiet = round(QUIET_S * LISTENING_RATE_HZ)
    while audio.size > longest:
        energy = np.cumsum(np.square(audio[earliest:longest], dtype=np.float64))
        cut = earliest + int(np.argmin(energy[quiet:] - energy[:-quiet])) + quiet // 2
        yield audio[:cut]
        audio = audio[cut:]
    if audio.size:
        yield audio


def _is_nothing(text: str, heard: _Heard) -> bool:
    """Whether `text` was made out of silence or noise."""
    if not any(character.isalnum() for character in text):
        return True
    return heard.no_speech_probability > NO_SPEECH_ODDS * exp(heard.mean_log_probability)
