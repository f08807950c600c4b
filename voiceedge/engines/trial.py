"""One short use of a model that somebody brought: does it do what its stage is for?"""

from __future__ import annotations

import numpy as np

from voiceedge.audio.pcm import first_audible
from voiceedge.audio.resample import resample
from voiceedge.engines import LISTENING_RATE_HZ, Llm, Message, Piece, Prompt, Sampling, Stage, Stt, Tts
from voiceedge.engines.loading import LocalModel, ThreadPlan, load_engine
from voiceedge.errors import ConfigError

QUESTION = "What is the capital of France?"
PHRASE = "Good morning. How are you?"
"""About a second of speech."""
ANSWER_TOKENS = 24
CONTEXT_TOKENS = 512


def try_model(stage: Stage, model: LocalModel) -> str:
    """Load `model` and use it once.

    Returns:
        What came of it, for a person.

    Raises:
        ConfigError: it answers, hears or says nothing; or there is no such engine.
        ModelMissing: a file is not there.
        ModelCorrupt: it cannot be loaded.
    """
    engine = load_engine(stage, model, slots=1, context_tokens=CONTEXT_TOKENS, threads=ThreadPlan())
    match stage:
        case "llm":
            return f"asked “{QUESTION}” it answers “{answer(engine)}”"
        case "stt":
            return f"of “{PHRASE}” it hears “{hear(engine)}”"
        case "tts":
            return f"it says “{PHRASE}” in {say(engine):.1f} s"
        case _:
            return "it loads"


def answer(llm: Llm) -> str:
    """What `llm` says to a simple question."""
    stream = llm.open()
    try:
        prompt = Prompt((Message("user", QUESTION),))
        steps = stream.generate(prompt, Sampling(max_tokens=ANSWER_TOKENS))
        text = "".join(step.text for step in steps if isinstance(step, Piece)).strip()
    finally:
        stream.close()
    if not text:
        raise ConfigError("the model answers a question with nothing")
    return " ".join(text.split())


def hear(stt: Stt) -> str:
    """What `stt` makes of a phrase that hibari speaks."""
    from voiceedge.engines.hibari import HibariTts  # noqa: PLC0415 - takes a second to import and load

    voice = HibariTts()
    speech = np.concatenate(list(voice.speak(PHRASE, voice.voices[0], 1.0)))
    heard = stt.transcribe(resample(speech, voice.sample_rate_hz, LISTENING_RATE_HZ))
    text = " ".join(segment.text.strip() for segment in heard).strip()
    if not text:
        raise ConfigError("the model hears nothing in clear English speech")
    return text


def say(tts: Tts) -> float:
    """How many seconds `tts` takes to say a phrase in its first voice, in media time."""
    speech = np.concatenate([np.zeros(0, np.float32), *tts.speak(PHRASE, tts.voices[0], 1.0)])
    if first_audible(speech, tts.sample_rate_hz) is None:
        raise ConfigError("the voice cannot be heard")
    return speech.size / tts.sample_rate_hz
