"""What a file or folder of the user's own is, looked at before a byte of it is copied."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from voiceedge.errors import ConfigError
from voiceedge.modelstore.manifest import BuildStep, EngineName, Stage

GGUF_MAGIC = b"GGUF"
WHISPER_SPEC = "WhisperSpec"
WHISPER_FILES = ("model.bin", "config.json", "tokenizer.json")
WHISPER_VOCABULARIES = ("vocabulary.json", "vocabulary.txt")
"""One of them; CTranslate2 looks for them in this order."""
MULTILINGUAL_WORDS = 51_865
"""Words of Whisper's vocabulary from which it has tokens for languages (openai/whisper, `is_multilingual`)."""
KOKORO = "kokoro-82m-v1.0"
VOICE_SHAPE = (510, 1, 256)
VOICE_BYTES = 4 * 510 * 1 * 256
LARGEST_STYLE = 100.0
"""Numbers of Kokoro's voices lie within ±5; random bytes read as floats do not."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that could be added."""

    what: str
    """For a person: what it was recognised as."""
    suggested_id: str
    stage: Stage
    engine: EngineName
    family: str
    languages: tuple[str, ...]
    files: dict[str, Path]
    """By the name that each is to have in the store."""
    licence: str | None = None
    """What the file itself says, None if nothing."""
    build: BuildStep | None = None
    voice_of: str | None = None


def recognise(path: Path) -> Candidate:
    """Tell what `path` is.

    Raises:
        ConfigError: it is not there, or nothing that VoiceEdge can run; the message says what is wrong.
    """
    path = path.expanduser().absolute()
    try:
        if path.is_dir():
            return _whisper(path)
        with path.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}.") from error
    if magic == GGUF_MAGIC:
        return _gguf(path)
    if path.suffix == ".bin":
        return _voice(path)
    raise ConfigError(
        f"{path} is nothing that can be added: it is no GGUF file (which begins with the letters GGUF), no Kokoro "
        f"voice (NAME.bin) and no folder with a CTranslate2 Whisper model."
    )


def _gguf(path: Path) -> Candidate:
    # gguf takes 0.3 s to import
    from voiceedge.modelstore.build.source import Source  # noqa: PLC0415

    try:
        source = Source(path)
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:  # what every model has is missing or odd
        raise ConfigError(f"{path} cannot be read as a GGUF file: {error}") from error
    if source.field("tokenizer.chat_template") is None:
        raise ConfigError(f"{path} has no chat template: it is not a model that converses.")
    licence = source.field("general.license")
    family = source.architecture.family
    return Candidate(
        what=f"GGUF file of the {family} family",
        suggested_id=_slug(path.stem),
        stage="llm",
        engine="onnx_llm",
        family=family,
        languages=tuple(str(one) for one in source.field("general.languages") or ("und",)),
        files={f"{_slug(path.stem)}.gguf": path},
        licence=str(licence) if licence else None,
        build=BuildStep("gguf", f"{_slug(path.stem)}.gguf"),
    )


def _whisper(folder: Path) -> Candidate:
    present = [name for name in WHISPER_VOCABULARIES if (folder / name).is_file()]
    missing = [name for name in WHISPER_FILES if not (folder / name).is_file()]
    missing += [] if present else [" or ".join(WHISPER_VOCABULARIES)]
    if missing:
        raise ConfigError(f"{folder} is no CTranslate2 Whisper model: {', '.join(missing)} is missing.")
    spec, words = _read_model_head(folder / "model.bin"), sum(1 for _ in _words(folder / present[0]))
    if spec != WHISPER_SPEC:
        raise ConfigError(f"{folder / 'model.bin'} is a CTranslate2 model of the kind {spec!r}, not {WHISPER_SPEC!r}.")
    names = [*WHISPER_FILES, present[0]]
    names += [name for name in ("preprocessor_config.json",) if (folder / name).is_file()]
    return Candidate(
        what="CTranslate2 Whisper model",
        suggested_id=_slug(folder.name),
        stage="stt",
        engine="whisper",
        family="whisper",
        languages=("mul",) if words >= MULTILINGUAL_WORDS else ("en",),
        files={name: folder / name for name in names},
        build=BuildStep("ctranslate2", "model.bin"),
    )


def _voice(path: Path) -> Candidate:
    size = path.stat().st_size
    if size != VOICE_BYTES:
        raise ConfigError(
            f"{path} has {size} bytes; a Kokoro voice, float32 {list(VOICE_SHAPE)}, has {VOICE_BYTES}. "
            f"(A CTranslate2 model is added by its folder.)"
        )
    style = np.fromfile(path, dtype="<f4")
    if not np.isfinite(style).all() or np.abs(style).max() > LARGEST_STYLE or not style.any():
        raise ConfigError(f"{path} is no Kokoro voice: its numbers are not those of one.")
    name = _slug(path.stem)
    return Candidate(
        what="Kokoro voice",
        suggested_id=name,
        stage="tts",
        engine="kokoro",
        family="kokoro",
        languages=("en",),
        files={path.name: path},
        voice_of=KOKORO,
    )


def _read_model_head(path: Path) -> str:
    """Name of the kind of model: a version (uint32), then a length (uint16) and so many characters with a zero."""
    with path.open("rb") as file:
        head = file.read(6)
        if len(head) < 6:
            raise ConfigError(f"{path} is no CTranslate2 model: it has {len(head)} bytes.")
        version, length = struct.unpack("<IH", head)
        name = file.read(length).rstrip(b"\0")
    if not 1 <= version <= 100 or not 1 <= len(name) <= 64 or not name.isalnum():
        raise ConfigError(f"{path} is no CTranslate2 model: it does not begin like one.")
    return name.decode("ascii")


def _words(vocabulary: Path) -> Iterator[str]:
    """Words of a vocabulary: a line or a JSON string each."""
    text = vocabulary.read_text(encoding="utf-8", errors="replace")
    yield from (
        re.findall(r'"(?:[^"\\]|\\.)*"', text) if vocabulary.suffix == ".json" else text.removesuffix("\n").split("\n")
    )


def _slug(name: str) -> str:
    """A name as an id can be: other characters become hyphens."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:100] or "model"
