"""pipecat: `OpenAIRealtimeLLMService` in a pipeline with a transport whose microphone and loudspeaker are in memory."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from importlib.metadata import version

from loguru import logger
from pipecat.adapters.schemas.function_schema import FunctionSchema
from pipecat.adapters.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    ErrorFrame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMRunFrame,
    LLMTextFrame,
    TranscriptionFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.openai.realtime import events
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.services.openai.stt import OpenAIRealtimeSTTService
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner
from scenarios import ATLAS, CAPITAL, RATE_HZ, STORYTELLER, TOOL, Microphone, Node, main, scenario, until

BRIEF = "You are a helpful assistant. Answer in one sentence."
logger.remove()


class Ear(BaseInputTransport):
    """A microphone."""

    async def start(self, frame):
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def hear(self, pcm16):
        await self.push_audio_frame(InputAudioRawFrame(audio=pcm16, sample_rate=RATE_HZ, num_channels=1))


class Mouth(BaseOutputTransport):
    """A loudspeaker that takes as long as one does."""

    def __init__(self, params):
        super().__init__(params)
        self.played = 0
        self._free_at = 0.0

    async def start(self, frame):
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame):
        now = time.monotonic()
        self._free_at = max(self._free_at, now) + len(frame.audio) / (2 * RATE_HZ)
        if any(frame.audio):
            self.played += len(frame.audio)
        await asyncio.sleep(self._free_at - now)
        return True


class Watch(FrameProcessor):
    """Notes the frames that pass, in both directions."""

    def __init__(self):
        super().__init__()
        self.seen = []

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        self.seen.append(frame)
        await self.push_frame(frame, direction)


class Call:
    """A running pipeline."""

    def __init__(self, context):
        params = TransportParams(
            audio_in_enabled=True, audio_out_enabled=True, audio_in_sample_rate=RATE_HZ, audio_out_sample_rate=RATE_HZ
        )
        self.context = context
        self.ear, self.mouth, self.before, self.after = Ear(params), Mouth(params), Watch(), Watch()
        self.worker = None

    def of(self, kind):
        return [frame for watch in (self.before, self.after) for frame in watch.seen if isinstance(frame, kind)]

    def said(self, role):
        messages = self.context.get_messages()
        said = [message for message in messages if isinstance(message, dict) and message["role"] == role]
        return [message["content"] for message in said if message.get("content")]  # calls have none

    async def until(self, condition, what):
        await until(lambda: condition() or self.of(ErrorFrame), what)
        assert not self.of(ErrorFrame), self.of(ErrorFrame)[0].error

    async def answers(self, times):
        """The last answer, as the context holds it once it has been played."""
        await self.until(lambda: len(self.said("assistant")) >= times, f"answer {times} in the context")
        return self.said("assistant")[-1]


@asynccontextmanager
async def running(call, *processors):
    call.worker = PipelineWorker(
        Pipeline([call.ear, *processors]),
        params=PipelineParams(audio_in_sample_rate=RATE_HZ, audio_out_sample_rate=RATE_HZ),
        enable_rtvi=False,
    )
    started = asyncio.Event()

    @call.worker.event_handler("on_pipeline_started")
    async def on_pipeline_started(worker, frame):
        started.set()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(call.worker)
    task = asyncio.create_task(runner.run())
    await started.wait()
    try:
        yield call
    finally:
        await call.worker.cancel()
        await asyncio.wait([task], timeout=10)
    assert not call.of(ErrorFrame), call.of(ErrorFrame)[0].error


@asynccontextmanager
async def calling(node: Node, messages=(), instructions=BRIEF, detection=None, tools=None, **properties):
    heard = events.AudioInput(
        transcription=events.InputAudioTranscription(),
        noise_reduction=events.InputAudioNoiseReduction(type="near_field"),
        turn_detection=events.SemanticTurnDetection() if detection is None else detection,
    )
    settings = OpenAIRealtimeLLMService.Settings(
        model="gpt-realtime",
        system_instruction=instructions,
        session_properties=events.SessionProperties(audio=events.AudioConfiguration(input=heard), **properties),
    )
    llm = OpenAIRealtimeLLMService(api_key="any", base_url=node.socket_url, settings=settings)
    call = Call(LLMContext(list(messages)) if tools is None else LLMContext(list(messages), tools))
    user, assistant = LLMContextAggregatorPair(call.context)
    call.llm = llm
    async with running(call, user, call.before, llm, call.after, call.mouth, assistant):
        yield call


@scenario("greeting")
async def greeting(node):
    async with calling(node) as call:
        await call.worker.queue_frames([LLMRunFrame()])
        answer = await call.answers(1)
        assert call.mouth.played > RATE_HZ // 2
        return answer


@scenario("speech")
async def speech(node):
    async with calling(node) as call, Microphone.open(call.ear.hear) as microphone:
        await call.worker.queue_frames([LLMRunFrame()])
        await call.answers(1)
        await microphone.say(node.say("question"))
        answer = await call.answers(2)
        assert any("capital" in text for text in call.said("user")), call.said("user")
        return f"{call.said('user')[-1]} {answer}"


@scenario("second turn")
async def second(node):
    async with calling(node) as call, Microphone.open(call.ear.hear) as microphone:
        await call.worker.queue_frames([LLMRunFrame()])
        await call.answers(1)
        await microphone.say(node.say("question"))
        await call.answers(2)
        await microphone.say(node.say("followup"))
        return node.shown(await call.answers(3), users=2, answers=2)


@scenario("tool turn")
async def tool_turn(node):
    called = []

    async def capital(params):
        called.append(params.arguments["country"])
        await params.result_callback(CAPITAL)

    schema = TOOL["parameters"]
    function = FunctionSchema(TOOL["name"], TOOL["description"], schema["properties"], schema["required"])
    asked = [{"role": "user", "content": "What is the capital of France?"}]
    async with calling(node, asked, ATLAS, tools=ToolsSchema([function])) as call:
        call.llm.register_function("capital", capital)
        await call.worker.queue_frames([LLMRunFrame()])
        await call.until(lambda: any(CAPITAL in text for text in call.said("assistant")), "the result in the answer")
        assert len(called) == 1, called
        return f"capital({called[0]}) {call.said('assistant')[-1]}"


@scenario("barge-in")
async def barge_in(node):
    async with calling(node, instructions=STORYTELLER) as call, Microphone.open(call.ear.hear) as microphone:
        await call.worker.queue_frames([LLMRunFrame()])
        await call.until(lambda: call.mouth.played > RATE_HZ, "half a second of story")
        await microphone.say(node.say("stop"))
        await call.until(lambda: call.of(InterruptionFrame), "the interruption")
        played = call.mouth.played
        await call.until(lambda: call.mouth.played > played + 4 * RATE_HZ, "the next answer")
        assert len(call.said("assistant")[0]) < 400, "an interrupted answer that is whole"
        return "interrupted, answered again"


@scenario("push-to-talk")
async def push_to_talk(node):
    async with calling(node, detection=False) as call, Microphone.open(call.ear.hear) as microphone:
        await call.worker.queue_frames([LLMRunFrame()])
        await call.until(lambda: call.mouth.played > RATE_HZ, "the greeting")
        await call.worker.queue_frames([UserStartedSpeakingFrame(), InterruptionFrame()])
        await microphone.say(node.say("question"))
        await call.worker.queue_frames([UserStoppedSpeakingFrame()])
        await call.until(lambda: any(frame.text for frame in call.of(TranscriptionFrame)), "the transcript")
        before = call.mouth.played
        await call.until(lambda: call.mouth.played > before + 2 * RATE_HZ, "the answer")
        return call.of(TranscriptionFrame)[0].text


@scenario("text")
async def text(node):
    asked = [{"role": "user", "content": "What is the capital of France?"}]
    async with calling(node, asked, output_modalities=["text"]) as call:
        await call.worker.queue_frames([LLMRunFrame()])
        answer = await call.answers(1)
        assert not call.mouth.played
        assert "".join(frame.text for frame in call.of(LLMTextFrame)) == answer
        return answer


@scenario("transcription")
async def transcription(node):
    stt = OpenAIRealtimeSTTService(api_key="any", base_url=node.socket_url, turn_detection=None)
    call = Call(LLMContext())
    async with running(call, stt, call.after), Microphone.open(call.ear.hear) as microphone:
        await microphone.say(node.say("question"))
        await call.until(lambda: call.of(TranscriptionFrame), "the transcript")
        return call.of(TranscriptionFrame)[0].text


@scenario("no reply")
async def no_reply(node):
    detection = events.SemanticTurnDetection(create_response=False, interrupt_response=False)
    async with calling(node, detection=detection) as call, Microphone.open(call.ear.hear) as microphone:
        await microphone.say(node.say("question"))
        await call.until(lambda: call.of(TranscriptionFrame), "the transcript")
        await asyncio.sleep(1.5)
        assert not call.mouth.played, "answered unasked"
        await call.worker.queue_frames([LLMRunFrame()])
        return await call.answers(1)


@scenario("reconnect")
async def reconnect(node):
    asked = [
        {"role": "user", "content": "What is the capital of France?"},
        {"role": "assistant", "content": "Paris."},
        {"role": "user", "content": "And how many people live there?"},
    ]
    async with calling(node, asked) as call:
        await call.worker.queue_frames([LLMRunFrame()])
        # the client packs a conversation of several messages into one message of the user
        before = node.shown(await call.answers(2), users=1, answers=0)
        await call.llm.reset_conversation()
        await call.llm._create_response()  # as pipecat's own example of a persistent context does
        await call.answers(3)
    # once more while the answer is being played: the client will truncate an item of the connection before
    async with calling(node, instructions=STORYTELLER) as call, Microphone.open(call.ear.hear) as microphone:
        await call.worker.queue_frames([LLMRunFrame()])
        await call.until(lambda: call.mouth.played > RATE_HZ, "half a second of story")
        await call.llm.reset_conversation()
        await microphone.say(node.say("question"))
        await call.until(lambda: call.of(TranscriptionFrame), "the transcript")
    return before


main({"pipecat-ai": version("pipecat-ai")})
