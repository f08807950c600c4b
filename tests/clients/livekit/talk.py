"""LiveKit agents: an `AgentSession` on `openai.realtime.RealtimeModel`, with an ear and a mouth instead of a room."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from importlib.metadata import version

from livekit import rtc
from livekit.agents import Agent, AgentSession, function_tool, stt
from livekit.agents.utils import http_context
from livekit.agents.voice import io
from livekit.plugins import openai
from openai.types.beta.realtime.session import TurnDetection
from scenarios import ATLAS, CAPITAL, RATE_HZ, STORYTELLER, Microphone, Node, main, scenario, until

AEC_WARM_UP_S = 3.2
"""LiveKit ignores the microphone for its first 3 s of speaking (`aec_warmup_duration`)."""
BRIEF = "You are a helpful assistant. Answer in one sentence."


class Warnings(logging.Handler):
    """What LiveKit logs as a warning or worse: lost events and time-outs appear nowhere else."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


class Ear(io.AudioInput):
    """A microphone."""

    def __init__(self):
        super().__init__(label="ear")
        self._frames = asyncio.Queue()

    async def __anext__(self):
        return await self._frames.get()

    async def hear(self, pcm16):
        await self._frames.put(rtc.AudioFrame(pcm16, RATE_HZ, 1, len(pcm16) // 2))


class Mouth(io.AudioOutput):
    """A loudspeaker that takes as long as one does."""

    def __init__(self):
        super().__init__(label="mouth", capabilities=io.AudioOutputCapabilities(pause=False), sample_rate=RATE_HZ)
        self.segments = []
        self.interrupted = 0
        self._begun = None
        self._length = 0.0
        self._end = None

    async def capture_frame(self, frame):
        await super().capture_frame(frame)
        if self._begun is None:
            self._begun, self._length = time.monotonic(), 0.0
            self.on_playback_started(created_at=time.time())
        self._length += frame.duration

    def flush(self):
        super().flush()
        if self._begun is not None and self._end is None:
            rest = self._begun + self._length - time.monotonic()
            self._end = asyncio.get_running_loop().call_later(max(0.0, rest), self._finish, False)

    def clear_buffer(self):
        if self._begun is not None:
            self.interrupted += 1
            self._finish(True)

    def _finish(self, interrupted):
        played = min(self._length, time.monotonic() - self._begun)
        if self._end is not None:
            self._end.cancel()
        self.segments.append(played)
        self._begun = self._end = None
        self.on_playback_finished(playback_position=played, interrupted=interrupted)


class Call:
    """A running agent."""

    def __init__(self, session, agent):
        self.session, self.agent = session, agent
        self.ear, self.mouth = session.input.audio, session.output.audio
        self.errors = []
        self.heard = []
        session.on("error", lambda event: self.errors.append(str(event.error)))
        session.on("user_input_transcribed", lambda event: self.heard.append(event))  # noqa: PLW0108 - the emitter inspects it

    def said(self, role):
        return [m.text_content for m in self.session.history.items if m.type == "message" and m.role == role]

    async def until(self, condition, what):
        await until(lambda: condition() or self.errors, what)
        assert not self.errors, self.errors[0]

    async def answers(self, times):
        await self.until(lambda: len(self.said("assistant")) >= times, f"answer {times} in the history")
        return self.said("assistant")[-1]


@asynccontextmanager
async def calling(node: Node, instructions=BRIEF, *, manual=False, audible=True, tools=(), **model):
    warnings = Warnings()
    logging.getLogger("livekit").addHandler(warnings)
    turns = {"interruption": {"resume_false_interruption": False}}
    if manual:
        turns["turn_detection"] = "manual"
    async with http_context.open():
        llm = openai.realtime.RealtimeModel(base_url=node.base_url, api_key="any", **model)
        session = AgentSession(llm=llm, turn_handling=turns)
        session.input.audio = Ear()
        if audible:
            session.output.audio = Mouth()
        agent = Agent(instructions=instructions, tools=list(tools))
        call = Call(session, agent)
        await session.start(agent, record=False)
        try:
            yield call
        finally:
            await session.aclose()
            logging.getLogger("livekit").removeHandler(warnings)
    assert not call.errors, call.errors[0]
    assert not warnings.lines, warnings.lines[0]


@scenario("greeting")
async def greeting(node):
    async with calling(node) as call:
        handle = call.session.generate_reply(instructions="Greet the user.")
        await handle
        assert call.mouth.segments[0] > 0.5
        return await call.answers(1)


@scenario("speech")
async def speech(node):
    async with calling(node) as call, Microphone.open(call.ear.hear, chunk_s=0.05) as microphone:
        await microphone.say(node.say("question"))
        answer = await call.answers(1)
        assert "capital" in call.said("user")[0], call.said("user")
        return f"{call.said('user')[0]} {answer}"


@scenario("second turn")
async def second(node):
    async with calling(node) as call, Microphone.open(call.ear.hear, chunk_s=0.05) as microphone:
        await microphone.say(node.say("question"))
        await call.answers(1)
        await microphone.say(node.say("followup"))
        return node.shown(await call.answers(2), users=2, answers=1)


@scenario("tool turn")
async def tool_turn(node):
    asked = []

    @function_tool
    async def capital(country: str) -> str:
        """Looks up the capital of a country in the atlas."""
        asked.append(country)
        return CAPITAL

    async with (
        calling(node, ATLAS, tools=[capital]) as call,
        Microphone.open(call.ear.hear, chunk_s=0.05) as microphone,
    ):
        await microphone.say(node.say("question"))
        await call.until(lambda: any(CAPITAL in text for text in call.said("assistant")), "the result in the answer")
        assert len(asked) == 1, asked
        return f"capital({asked[0]}) {call.said('assistant')[-1]}"


@scenario("barge-in")
async def barge_in(node):
    async with calling(node, STORYTELLER) as call, Microphone.open(call.ear.hear, chunk_s=0.05) as microphone:
        await microphone.say(node.say("story"))
        await call.until(lambda: call.session.agent_state == "speaking", "the story")
        await asyncio.sleep(AEC_WARM_UP_S)
        await microphone.say(node.say("stop"))
        await call.until(lambda: call.mouth.interrupted, "the interruption")
        assert 0 < len(await call.answers(1)) < 400, "an interrupted answer that is whole"
        await call.until(lambda: call.session.agent_state == "speaking", "the next answer")
        await asyncio.sleep(0.5)
        await call.session.interrupt()
        await asyncio.sleep(0.5)  # for the end of the response: LiveKit warns about one that it hangs up on
        return f"interrupted after {call.mouth.segments[0]:.1f} s, answered again"


@scenario("push-to-talk")
async def push_to_talk(node):
    async with (
        calling(node, manual=True, turn_detection=None) as call,
        Microphone.open(call.ear.hear, chunk_s=0.05) as microphone,
    ):
        call.session.clear_user_turn()
        await microphone.say(node.say("question"))
        await asyncio.sleep(0.3)
        await call.session.commit_user_turn()
        return await call.answers(1)


@scenario("text")
async def text(node):
    async with calling(node, audible=False, modalities=["text"]) as call:
        await call.session.generate_reply(user_input="What is the capital of France?")
        first = await call.answers(1)
        await call.session.generate_reply(user_input="And how many people live there?")
        return f"{first} / {node.shown(await call.answers(2), users=2, answers=1)}"


@scenario("transcription")
async def transcription(node):
    async with http_context.open():
        listener = openai.STT(base_url=node.base_url, api_key="any", use_realtime=True)
        async with listener.stream() as stream:

            async def hear(pcm16):
                stream.push_frame(rtc.AudioFrame(pcm16, RATE_HZ, 1, len(pcm16) // 2))

            async with Microphone.open(hear, chunk_s=0.05) as microphone:
                await microphone.say(node.say("question"))
                async for event in stream:
                    if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
                        return event.alternatives[0].text
        raise AssertionError("no final transcript")


@scenario("no reply")
async def no_reply(node):
    detection = TurnDetection(type="server_vad", create_response=False, interrupt_response=False)
    async with (
        calling(node, manual=True, turn_detection=detection) as call,
        Microphone.open(call.ear.hear, chunk_s=0.05) as microphone,
    ):
        await microphone.say(node.say("question"))
        await call.until(lambda: call.heard, "the transcript")
        await asyncio.sleep(1.5)
        assert not call.said("assistant"), "answered unasked"
        await call.session.generate_reply()
        return await call.answers(1)


@scenario("reconnect")
async def reconnect(node):
    reconnected = []
    async with calling(node, max_session_duration=6.0) as call:
        call.agent.realtime_llm_session.on("session_reconnected", reconnected.append)
        await call.session.generate_reply(user_input="What is the capital of France?")
        await call.answers(1)
        await call.until(lambda: reconnected, "the second connection")
        await call.session.generate_reply(user_input="And how many people live there?")
        return node.shown(await call.answers(2), users=2, answers=1)


main({name: version(name) for name in ("livekit-agents", "livekit-plugins-openai")})
