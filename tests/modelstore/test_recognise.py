"""What a user's file is, or why it is nothing that can be added."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests import real
from tests.modelstore.build.tiny import write_tiny
from tests.modelstore.build.tiny_whisper import weights, write
from voiceedge.errors import ConfigError
from voiceedge.modelstore.recognise import VOICE_SHAPE, recognise


def write_whisper(folder: Path, *, spec: bytes = b"WhisperSpec", words: int = 51_864, vocabulary: str = "txt") -> Path:
    """A folder that looks like a CTranslate2 Whisper model."""
    folder.mkdir()
    write(folder / "model.bin", weights(), kind=spec.decode())
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    names = [f'w"{i}\u2028' for i in range(words)]
    text = json.dumps(names) if vocabulary == "json" else "".join(f"{name}\n" for name in names)
    (folder / f"vocabulary.{vocabulary}").write_text(text, encoding="utf-8")
    return folder


def write_voice(path: Path, shape: tuple[int, ...] = VOICE_SHAPE) -> Path:
    np.random.default_rng(0).normal(0, 0.3, shape).astype("<f4").tofile(path)
    return path


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_a_gguf_file_is_told_by_its_content_whatever_it_is_called(tmp_path, family):
    path = write_tiny(tmp_path / "My model (v1).weights", family)
    found = recognise(path)
    assert (found.stage, found.engine, found.family, found.suggested_id) == ("llm", "onnx_llm", family, "My-model-v1")
    assert found.files == {"My-model-v1.gguf": path}
    assert found.build is not None
    assert found.build.input == "My-model-v1.gguf"


@pytest.mark.parametrize(
    ("family", "changes", "reason"),
    [
        ("gpt2", {}, "of the family 'gpt2'; only llama, qwen2"),
        ("llama", {"template": None}, "no chat template"),
    ],
)
def test_a_gguf_file_that_cannot_converse_or_be_built_says_so(tmp_path, family, changes, reason):
    with pytest.raises(ConfigError, match=reason):
        recognise(write_tiny(tmp_path / "m.gguf", family, **changes))


@pytest.mark.parametrize("kept", [4, 10, 100, 2000])
def test_a_gguf_file_that_is_cut_off_is_refused(tmp_path, kept):
    path = write_tiny(tmp_path / "m.gguf", "llama")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ConfigError, match="cannot be read as a GGUF file"):
        recognise(path)


def test_a_gguf_file_by_name_only_is_refused(tmp_path):
    (tmp_path / "m.gguf").write_bytes(b"<html>")
    with pytest.raises(ConfigError, match=r"no GGUF file \(which begins with the letters GGUF\)"):
        recognise(tmp_path / "m.gguf")


@pytest.mark.parametrize("vocabulary", ["txt", "json"])
@pytest.mark.parametrize(("words", "languages"), [(51_864, ("en",)), (51_865, ("mul",)), (51_866, ("mul",))])
def test_a_whisper_folder_is_recognised_with_its_languages(tmp_path, words, languages, vocabulary):
    found = recognise(write_whisper(tmp_path / "ears", words=words, vocabulary=vocabulary))
    assert (found.stage, found.engine, found.languages, found.suggested_id) == ("stt", "whisper", languages, "ears")
    assert list(found.files) == ["model.bin", "config.json", "tokenizer.json", f"vocabulary.{vocabulary}"]


@pytest.mark.parametrize("missing", ["model.bin", "config.json", "tokenizer.json", "vocabulary.txt"])
def test_a_folder_without_one_of_the_files_names_it(tmp_path, missing):
    (write_whisper(tmp_path / "ears") / missing).unlink()
    with pytest.raises(ConfigError, match=f"{missing} is missing"):
        recognise(tmp_path / "ears")


def test_a_ctranslate2_model_of_another_kind_is_named(tmp_path):
    with pytest.raises(ConfigError, match="of the kind 'TransformerSpec', not 'WhisperSpec'"):
        recognise(write_whisper(tmp_path / "translator", spec=b"TransformerSpec"))


@pytest.mark.parametrize("content", [b"", b"abc", b"PK\3\4 something that is zipped", bytes(100)])
def test_a_model_file_of_another_program_is_refused(tmp_path, content):
    (write_whisper(tmp_path / "ears") / "model.bin").write_bytes(content)
    with pytest.raises(ConfigError, match="is no CTranslate2 model"):
        recognise(tmp_path / "ears")


def test_a_voice_is_recognised(tmp_path):
    found = recognise(write_voice(tmp_path / "bf_mine.bin"))
    assert (found.stage, found.engine, found.voice_of) == ("tts", "kokoro", "kokoro-82m-v1.0")
    assert found.suggested_id == "bf_mine"


def test_a_voice_of_another_shape_says_what_it_should_be(tmp_path):
    with pytest.raises(ConfigError, match=r"has 1024 bytes; .*float32 \[510, 1, 256\], has 522240"):
        recognise(write_voice(tmp_path / "v.bin", (1, 256)))


@pytest.mark.parametrize("fill", [np.nan, np.inf, 1e30, 0.0])
def test_numbers_that_are_no_voices_are_refused(tmp_path, fill):
    np.full(VOICE_SHAPE, fill, "<f4").tofile(tmp_path / "v.bin")
    with pytest.raises(ConfigError, match="its numbers are not those of one"):
        recognise(tmp_path / "v.bin")


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.gguf cannot be read: No such file"):
        recognise(tmp_path / "nowhere.gguf")


@pytest.mark.models
@pytest.mark.parametrize(
    ("model", "file", "languages"),
    [
        ("smollm2-135m-instruct", "SmolLM2-135M-Instruct.Q4_1.gguf", ("en",)),
        ("whisper-tiny.en", "", ("en",)),
        ("whisper-base", "", ("mul",)),
        ("kokoro-82m-v1.0", "bf_emma.bin", ("en",)),
    ],
)
def test_the_real_files_are_recognised(model, file, languages):
    assert recognise(real.local_model(model).folder / file).languages == languages
