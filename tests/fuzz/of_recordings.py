"""What the bench reads: sound, tapes, lists of recordings, events of a node, reports."""

from __future__ import annotations

import io
import json
import struct
import wave
from functools import cache
from typing import Any

import msgspec

from tests.fuzz.target import Page, Target, edited_json
from voiceedge.errors import AudioUnreadable, ConfigError

_SOUND = Page("sound.wav")
_FLAC = Page("sound.flac")
_ANY = Page("sound.mp3")
_TAPE = Page("tape.wav")
_LIST = Page("list.tsv")
_REPORT = Page("report.json")


def sound(data: bytes) -> None:
    """A file that says it is WAV."""
    _read(_SOUND, data)


def flac(data: bytes) -> None:
    """A file that says it is FLAC."""
    _read(_FLAC, data)


def any_sound(data: bytes) -> None:
    """A file of another kind: mp3, Ogg."""
    _read(_ANY, data)


def _read(page: Page, data: bytes) -> None:
    from voiceedge.audio.files import read_audio  # noqa: PLC0415 - numpy and miniaudio take their time

    assert read_audio(page.of(data), 16_000).ndim == 1


def tape(data: bytes) -> None:
    """A recording of a conversation that something else made."""
    from voiceedge.bench.from_wav import bench_from_wav  # noqa: PLC0415

    _TAPE.path.with_suffix(".jsonl").unlink(missing_ok=True)
    bench_from_wav(_TAPE.of(data))


def turns(data: bytes) -> None:
    """What lies beside a tape."""
    from voiceedge.bench.from_wav import bench_from_wav  # noqa: PLC0415

    _TAPE.path.with_suffix(".jsonl").write_bytes(data)
    bench_from_wav(_TAPE.of(_wav()))


def edited_turns(data: bytes) -> None:
    """The same, nearly right."""
    lines = json.loads(edited_json([[_LABEL, _TURN, _TURN]], _FIELDS, data))
    turns(b"".join(json.dumps(line).encode() + b"\n" for line in lines) if isinstance(lines, list) else b"{}\n")


def recordings(data: bytes) -> None:
    """A list of recordings, in a folder that has one."""
    from voiceedge.bench.recording import load_recordings  # noqa: PLC0415

    (_LIST.path.parent / "a.wav").write_bytes(_wav())
    load_recordings([_LIST.of(data)])


def node_event(data: bytes) -> None:
    """An event of a node, as the bench reads it."""
    from voiceedge.bench import wire  # noqa: PLC0415

    assert isinstance(wire.read(data).of_response, str)


def report(data: bytes) -> None:
    """A report to compare with."""
    from voiceedge.bench.conditions import read_report  # noqa: PLC0415

    assert read_report(_REPORT.of(data))["schema"]


@cache
def _wav(rate_hz: int = 24_000) -> bytes:
    """A tenth of a second of a conversation: the user, then the agent."""
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(2)
        written.setsampwidth(2)
        written.setframerate(rate_hz)
        half = rate_hz // 20
        written.writeframes(struct.pack("<hh", 9000, 0) * half + struct.pack("<hh", 0, 9000) * half)
    return file.getvalue()


def _small_wav(rate: int, channels: int, bits: int) -> bytes:
    """A header, and twenty frames behind it."""
    block = channels * bits // 8
    head = struct.pack("<HHIIHH", 1, channels, rate, rate * block, block, bits)
    body = bytes(range(20 * block % 256)) or bytes(20 * block)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + len(body))
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + head
        + b"data"
        + struct.pack("<I", len(body))
        + body
    )


_STREAM = struct.pack(">HH", 16, 16) + bytes(6) + ((16_000 << 44) | (15 << 36) | 16).to_bytes(8, "big") + bytes(16)
_SMALL_FLAC = b"fLaC" + b"\x80\x00\x00\x22" + _STREAM + b"\xff\xf8\x69\x08\x00\x0f\x99\x00\x00\x00\x00\x00"
_LABEL = {"format": "voiceedge.tape/1", "rate_hz": 24000, "channels": ["user", "agent"]}
_TURN: dict[str, Any] = {
    "audio": "a", "run": 1, "session": 1, "begins": 0, "last_voiced": 1200, "ends": 1300, "answers": [1250],
    "interrupts_at": 1200, "counted": True,
}  # fmt: skip
_FIELDS = (*_LABEL, *_TURN)
_BESIDE = b"".join(json.dumps(line).encode() + b"\n" for line in (_LABEL, _TURN))
_EVENT = {
    "type": "voiceedge.turn", "response_id": "r", "marks_ms": {"a": 1.5}, "total_ms": None, "facts": {"x": 1},
    "critical_path": [{"segment": "llm", "ms": 2}], "response": {"id": "r", "status": "completed"},
    "error": {"message": "m"},
}  # fmt: skip
_EDITS = (b"", b"\x01\x02\x03\x04", bytes(range(0, 96, 3)))
_WAVS = (_small_wav(16_000, 1, 16), _small_wav(44_100, 2, 24), _small_wav(8_000, 1, 8))
_MP3 = (b"\xff\xfb\x90\x64" + bytes(413)) * 2
TARGETS = (
    Target("wav", sound, (AudioUnreadable,), _WAVS, ("fmt ", "data", "LIST", "fact"), 1024, limit_s=3.0),
    Target("flac", flac, (AudioUnreadable,), (_SMALL_FLAC,), ("fLaC",), 1024, limit_s=3.0),
    Target(
        "mp3 and ogg",
        any_sound,
        (AudioUnreadable,),
        (_MP3, b"OggS\0\x02" + bytes(60)),
        max_bytes=1024,
    ),
    Target(
        "tape",
        tape,
        (AudioUnreadable, ConfigError),
        (_wav(4_000), _small_wav(8_000, 2, 16)),
        max_bytes=2048,
    ),
    Target("tape's turns", turns, (AudioUnreadable, ConfigError), (_BESIDE,), _FIELDS),
    Target("edited turns", edited_turns, (AudioUnreadable, ConfigError), _EDITS, max_bytes=128),
    Target(
        "recordings",
        recordings,
        (AudioUnreadable,),
        (b"path\tlast_voiced_s\nidea\t\na.wav\t0.05\n", b"path\tsegments\na.wav\t0.0-0.05\n"),
    ),
    Target("node's event", node_event, (msgspec.DecodeError,), (json.dumps(_EVENT).encode(),), tuple(_EVENT)),
    Target("report", report, (ConfigError,), (b'{"schema": "voiceedge.bench/3"}',), ("schema", "voiceedge.bench/2")),
)
