"""What clients send as settings, made fit for the type check: clamped, freed of nulls, merged.

Everything here works on decoded JSON and changes none of its arguments. A value of the wrong type is passed
through for `session_object` to refuse with its path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Json = dict[str, Any]

TURN_DETECTION = ("audio", "input", "turn_detection")
FIXED = frozenset({"id", "object", "type", "model", "expires_at"})
NULLABLE = frozenset({"tracing", "prompt", "include", "voiceedge"})
NULLABLE_INPUT = frozenset({"transcription", "noise_reduction", "turn_detection"})
KNOWN_INCLUDES = ("item.input_audio_transcription.logprobs",)

MAX_OUTPUT_TOKENS = 4096
"""OpenAI's limit; `"inf"` is as many as there is room for."""
SPEED = (0.25, 1.5)
TEMPERATURE = (0.0, 2.0)
IDLE_TIMEOUT_MS = (5_000, 30_000)
"""OpenAI's reference."""
SILENCE_MS = (0, 30_000)
PREFIX_PADDING_MS = (0, 5_000)


def normalised(patch: Json) -> Json:
    """A session.update's settings, clamped and with what stock clients get wrong put right."""
    tidy = common(patch)
    if isinstance(tidy.get("include"), list):
        tidy["include"] = [name for name in KNOWN_INCLUDES if name in tidy["include"]]
    _amend(tidy, "audio", _audio)
    _amend(tidy, "truncation", lambda truncation: _clamp(truncation, "retention_ratio", 0.0, 1.0))
    _amend(tidy, "prompt", without_nulls)
    return tidy


def common(patch: Json) -> Json:
    """Put right what sessions and single responses have in common."""
    tidy = dict(patch)
    asked = tidy.get("output_modalities")
    if isinstance(asked, list) and "audio" in asked:
        tidy["output_modalities"] = ["audio"]  # never both: speech always comes with its transcript
    if isinstance(tidy.get("tools"), list):
        tidy["tools"] = [_tool(tool) for tool in tidy["tools"]]
    _clamp(tidy, "max_output_tokens", 1, MAX_OUTPUT_TOKENS)
    _clamp(tidy, "temperature", *TEMPERATURE)
    return tidy


def merged(current: Json, patch: Json, *, default_transcription: str) -> Json:
    """Lay a normalised update over the session object that holds.

    A null clears what can be cleared, and is otherwise as good as absent.
    """
    after = {**current, **_present(patch, NULLABLE, FIXED)}
    audio = after["audio"]
    if not isinstance(audio, dict):
        return after
    after["audio"] = {**current["audio"], **_present(audio, frozenset())}
    heard, spoken = after["audio"]["input"], after["audio"]["output"]
    if isinstance(heard, dict):
        before = current["audio"]["input"]
        heard = {**before, **_present(heard, NULLABLE_INPUT)}
        for key in ("format", *NULLABLE_INPUT):
            heard[key] = _object(before[key], heard[key])
        after["audio"]["input"] = _complete(heard, default_transcription)
    if isinstance(spoken, dict):
        before = current["audio"]["output"]
        spoken = {**before, **_present(spoken, frozenset())}
        spoken["format"] = _object(before["format"], spoken["format"])
        after["audio"]["output"] = spoken
    return after


def without_nulls(settings: Json) -> Json:
    """Take null for absent."""
    return {key: value for key, value in settings.items() if value is not None}


def clamped_speed(output: Json) -> Json:
    """Output settings with a speed that voices can do."""
    tidy = dict(output)
    _clamp(tidy, "speed", *SPEED)
    return tidy


def _audio(audio: Json) -> Json:
    _amend(audio, "input", lambda heard: _amend(heard, "turn_detection", _turn_detection))
    _amend(audio, "output", clamped_speed)
    return audio


def _turn_detection(settings: Json) -> Json:
    _clamp(settings, "threshold", 0.0, 1.0)
    _clamp(settings, "prefix_padding_ms", *PREFIX_PADDING_MS)
    _clamp(settings, "silence_duration_ms", *SILENCE_MS)
    _clamp(settings, "idle_timeout_ms", *IDLE_TIMEOUT_MS)
    return settings


def _tool(tool: Any) -> Any:
    return {"type": "function", **without_nulls(tool)} if isinstance(tool, dict) else tool


def _complete(heard: Json, default_transcription: str) -> Json:
    """Fill in what an object needs and its client may leave out."""
    detection, transcription = heard["turn_detection"], heard["transcription"]
    if isinstance(detection, dict):
        # "none" was the beta's way to turn it off
        heard["turn_detection"] = None if detection.get("type") == "none" else {"type": "server_vad", **detection}
    if isinstance(transcription, dict):
        heard["transcription"] = {"model": default_transcription, **transcription}
    if isinstance(heard["noise_reduction"], dict) and "type" not in heard["noise_reduction"]:
        heard["noise_reduction"] = None
    return heard


def _present(patch: Json, nullable: frozenset[str], ignored: frozenset[str] = frozenset()) -> Json:
    """The keys of an update that change something."""
    return {key: value for key, value in patch.items() if key not in ignored and (value is not None or key in nullable)}


def _object(current: Any, new: Any) -> Any:
    """Merge a leaf object; a new `type` starts from its defaults, a null key goes back to its own."""
    if not isinstance(new, dict):
        return new
    same = isinstance(current, dict) and new.get("type") in (None, current.get("type"))
    if not same:
        return without_nulls(new)
    kept = {"type": current["type"]} if "type" in current else {}
    return {**without_nulls({**current, **new}), **kept}


def _amend(settings: Json, key: str, change: Callable[[Json], Json]) -> Json:
    """Replace an inner object, where there is one, by a changed copy."""
    if isinstance(settings.get(key), dict):
        settings[key] = change(dict(settings[key]))
    return settings


def _clamp(settings: Json, key: str, low: float, high: float) -> Json:
    """Bring a number into its range; an integer's range makes it an integer."""
    value = settings.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = min(max(value, low), high)
        settings[key] = round(number) if isinstance(low, int) else number
    return settings
