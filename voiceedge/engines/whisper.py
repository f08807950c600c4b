"""Speech-to-text with Whisper on CTranslate2, encoding no more than what was said.

Whisper was trained on windows of 30 s, and the usual way pads every utterance to that length: the encoder then
works ten times longer than it has to. Here a window is as long as its audio and a second of silence. The decoder
knows that nothing follows by the silence that it finds behind the words; with a second of it, it often goes on and
repeats itself. Silence always sounds the same, though: it is encoded once, when the model is loaded, and what it
gave is put behind what every utterance gives.

The encoder is CTranslate2's. So is the decoder of a model of which no graph was built; one with a graph decodes on
onnxruntime (`whisper_graph`), which can check words that are known already instead of decoding them again.

CTranslate2 starts OpenMP threads only for `threads` > 1. They spin while they wait (GOMP_SPINCOUNT and
OMP_WAIT_POLICY=passive are read when the library is loaded, before this module could say anything), and one
thread decodes faster than two anyway: leave it at one.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from math import exp
from pathlib import Path

import ctranslate2
import msgspec
import numpy as np
import tokenizers
from numpy.typing import NDArray

from voiceedge.audio.pcm import PCM, first_audible, last_audible
from voiceedge.engines import LISTENING_RATE_HZ, Segment
from voiceedge.engines.mel import FRAMES_A_SECOND, HOP_SAMPLES, log_mel
from voiceedge.engines.repeats import count_said, find_repeats
from voiceedge.engines.whisper_decoding import CTranslate2Decoder, Decoder, Encoded, followed_by_silence
from voiceedge.engines.whisper_graph import GraphDecoder, Words
from voiceedge.engines.windows import WINDOW_S, pad, raised, windows
from voiceedge.errors import ConfigError, ModelCorrupt, ModelMissing

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

TOKENS_A_SECOND = 10.0
"""More than the fastest speaker needs (about 7); bounds what a loop can cost."""
TOKENS_TO_SPARE = 8
MOST_TOKENS = 224
"""Half of the decoder's 448 positions, as openai/whisper's `sample_len`."""

SECONDS_A_PLACE = 0.02
"""The encoder halves the mel frames."""

NO_SPEECH_ODDS = 2.0
"""Nothing was said when that is so many times as likely as the words are (mean token probability). One test in place of
openai/whisper's two (no-speech above 0.6, log probability below -1.0; they meet at odds of 1.6), which lose single
words: without neighbours the model is never sure of them. docs/words.md has the odds of noise."""

_FINAL_MARK = re.compile(r"(?:\.|[?!]+)[\"']?")
"""Two dots and more mean that somebody goes on."""


@dataclass(frozen=True, slots=True)
class _Heard:
    """What the decoder made of a window."""

    tokens: tuple[int, ...]
    """Without what it repeated on its own account."""
    decoded: int
    """Tokens before that was cut."""
    mean_log_probability: float
    no_speech_probability: float
    marked: float | None = None
    """Probability of a final mark behind the last word; None where words were cut off."""

    @property
    def looped(self) -> bool:
        """Whether the decoder ran in circles."""
        return len(self.tokens) < self.decoded


class _Settings(msgspec.Struct):
    """The part of config.json that is needed."""

    suppress_ids: tuple[int, ...]
    suppress_ids_begin: tuple[int, ...]


class Whisper:
    """The weights and the vocabulary; an utterance leaves nothing behind."""

    def __init__(
        self,
        folder: Path,
        *,
        graph: Path | None = None,
        language: str = "en",
        threads: int = 1,
        compute_type: str = "int8",
        whole_windows: bool = False,
    ) -> None:
        """Load a CTranslate2 model from `folder` (model.bin, config.json, tokenizer.json, vocabulary.*).

        Args:
            folder: the model.
            graph: folder that modelstore/build made of its decoder; None decodes with CTranslate2.
            language: only matters to a multilingual model.
            threads: for a step of either library.
            compute_type: CTranslate2's; of what it runs.
            whole_windows: pad every utterance to 30 s, as is usual: to compare with.

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
        self._whole_windows = whole_windows
        start = ["<|startoftranscript|>"]
        if self._model.is_multilingual:
            start += [f"<|{language}|>", "<|transcribe|>"]
        elif language != "en":
            raise ConfigError(f"the speech-to-text model in {folder} only knows English, not {language!r}")
        # without timestamps: two tokens less to decode, 7 to 12 ms
        self._start = [self._token(name, language) for name in start]
        prompt = (*self._start, self._token("<|notimestamps|>", language))
        self._silence = self._encode(np.zeros(WINDOW_S * LISTENING_RATE_HZ, dtype=np.float32))
        self._decoder: Decoder = CTranslate2Decoder(self._model, prompt, self._silence)
        if graph is not None:
            self._decoder = GraphDecoder(graph, _words(folder, self._vocabulary, prompt), self._silence, threads)

    def transcribe(self, audio: PCM, earlier: Sequence[Segment] = ()) -> Iterator[Segment]:
        """Transcribe an utterance of any length at 16 kHz, a segment a window of at most 30 s.

        Greedy. Silence and noise give segments with empty text. `earlier` is what this engine made of a beginning of
        `audio`: windows that were complete by then stay as they are, and the words of the last one are checked. That
        saves time and changes no word, but for close calls that rounding decides; without a graph it saves only the
        complete windows.
        """
        return (segment for segment in self.steps(audio, earlier) if segment is not None)

    def steps(self, audio: PCM, earlier: Sequence[Segment] = ()) -> Iterator[Segment | None]:
        """The same, with a stop behind every run of the encoder and every few tokens; None where no segment is done."""
        for index, window in enumerate(windows(audio)):
            if index + 1 < len(earlier):
                yield earlier[index]
            else:
                yield (yield from self._segment(window, earlier[index].token_ids if index < len(earlier) else ()))

    def _segment(self, audio: PCM, known: Sequence[int]) -> Generator[None, None, Segment]:
        audio = raised(audio)
        first, last = first_audible(audio, LISTENING_RATE_HZ), last_audible(audio, LISTENING_RATE_HZ)
        if first is None or last is None:
            return Segment("", no_speech_probability=1.0)
        audible_s = (first / LISTENING_RATE_HZ, (last + 1) / LISTENING_RATE_HZ)
        brief = audible_s[1] - audible_s[0] <= BRIEF_S
        shortest_s = SHORTEST_WINDOW_BRIEF_S if brief else SHORTEST_WINDOW_S
        window = pad(audio, WINDOW_S if self._whole_windows else shortest_s)
        heard = yield from self._listen(audio, window, audible_s, known)
        if heard.looped:
            longer = pad(audio, LOOPED_WINDOW_FACTOR * window.size / LISTENING_RATE_HZ)
            heard = yield from self._listen(audio, longer, audible_s, known)
        text = self._vocabulary.decode(list(heard.tokens)).strip()
        tokens = heard.tokens
        if _is_nothing(text, heard):
            text, tokens = "", ()
        sure = (heard.mean_log_probability, heard.no_speech_probability)
        return Segment(text, *sure, heard.decoded, tokens, heard.marked)

    def _listen(
        self, audio: PCM, window: PCM, audible_s: tuple[float, float], known: Sequence[int]
    ) -> Generator[None, None, _Heard]:
        """Encode and decode `window`, which begins with `audio`, and cut off what the decoder only repeats."""
        encoded = self._encode(window)
        yield
        places = round((audio.size / LISTENING_RATE_HZ + SILENCE_S) / SECONDS_A_PLACE)
        places = max(encoded.shape[1], min(places, self._silence.shape[1]))
        most = min(MOST_TOKENS, round(audio.size / LISTENING_RATE_HZ * TOKENS_A_SECOND) + TOKENS_TO_SPARE)
        decoded = yield from self._decoder.decode(encoded, places, known, most)
        tokens = decoded.tokens
        words = [self._word(token) for token in tokens]
        if len(tokens) >= most or find_repeats(words) is not None:
            starts_s, log_probabilities = self._places(encoded, places, tokens, window.size // HOP_SAMPLES)
            kept = count_said(words, starts_s, audible_s)
            if kept < len(tokens):
                # a decoder that runs in circles is sure of every copy: only what is kept is judged
                mean = float(np.mean(log_probabilities[:kept])) if kept else 0.0
                return _Heard(tokens[:kept], len(tokens), mean, decoded.no_speech_probability)
        return _Heard(tokens, len(tokens), decoded.mean_log_probability, decoded.no_speech_probability, decoded.marked)

    def _encode(self, window: PCM) -> Encoded:
        """What the encoder makes of a window."""
        mel = np.ascontiguousarray(log_mel(window)[None])
        return np.array(self._model.encode(ctranslate2.StorageView.from_array(mel)))

    def _places(
        self, encoded: Encoded, places: int, tokens: tuple[int, ...], frames: int
    ) -> tuple[list[float], NDArray[np.float64]]:
        """Where each token begins, in seconds, and its log probability: one pass over all of them (10 to 15 ms).

        `frames` is the length of the window in mel frames: in the silence behind it nothing has a place.
        """
        features = ctranslate2.StorageView.from_array(followed_by_silence(encoded, self._silence, places))
        (aligned,) = self._model.align(features, self._start, [list(tokens)], [frames])
        starts: dict[int, float] = {}
        for token, place in aligned.alignments:
            starts.setdefault(token, place * SECONDS_A_PLACE)
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


def _words(folder: Path, vocabulary: tokenizers.Tokenizer, prompt: tuple[int, ...]) -> Words:
    """What config.json and the vocabulary say about the tokens."""
    path = folder / "config.json"
    try:
        settings = msgspec.json.decode(path.read_bytes(), type=_Settings)
    except msgspec.DecodeError as error:
        raise ModelCorrupt(f"{path} cannot be read: {error}") from error
    no_speech = vocabulary.token_to_id("<|nocaptions|>") or vocabulary.token_to_id("<|nospeech|>")
    end = vocabulary.token_to_id("<|endoftext|>")
    if no_speech is None or end is None:
        raise ModelCorrupt(f"the vocabulary in {folder} is not Whisper's")
    marks, final_marks = _marks(vocabulary, end)
    return Words(prompt, end, no_speech, settings.suppress_ids, settings.suppress_ids_begin, marks, final_marks)


def _marks(vocabulary: tokenizers.Tokenizer, words: int) -> tuple[frozenset[int], tuple[int, ...]]:
    """Of the first `words` tokens: those without a letter or a digit, and those that end a sentence."""
    texts = [vocabulary.decode([token]).strip() for token in range(words)]
    marks = [token for token, text in enumerate(texts) if text and not any(map(str.isalnum, text))]
    return frozenset(marks), tuple(token for token in marks if _FINAL_MARK.fullmatch(texts[token]))


def _is_nothing(text: str, heard: _Heard) -> bool:
    """Whether `text` was made out of silence or noise."""
    if not any(character.isalnum() for character in text):
        return True
    return heard.no_speech_probability > NO_SPEECH_ODDS * exp(heard.mean_log_probability)
