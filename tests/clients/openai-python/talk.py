"""openai-python as its documentation shows it: `client.realtime.connect`."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import asynccontextmanager

import openai
from openai import AsyncOpenAI
from scenarios import ATLAS, CAPITAL, STORYTELLER, TOOL, Microphone, Node, main, scenario, seconds

NAMES = {
    "type": "realtime",
    "model": "gpt-realtime",
    "tracing": "auto",
    "max_output_tokens": "inf",
    "audio": {
        "input": {
            "noise_reduction": None,
            "transcription": {"model": "gpt-4o-mini-transcribe"},
            "turn_detection": {"type": "semantic_vad"},
        },
        "output": {"voice": "marin"},
    },
}


class Call:
    """One connection, and what came over it."""

    def __init__(self, connection):
        self.connection = connection
        self.seen = []
        self.audio = b""

    async def append(self, pcm16):
        await self.connection.input_audio_buffer.append(audio=base64.b64encode(pcm16).decode())

    async def until(self, kind):
        async for event in self.connection:
            self.seen.append(event)
            assert event.type != "error", event.error.message
            if event.type == kind:
                return event
        raise AssertionError(f"closed before {kind}")

    async def answered(self, least_s=0.5):
        """Wait for the answer; its words, once its audio has been checked."""
        done = (await self.until("response.done")).response
        assert done.status == "completed", done.status_details
        deltas = [e for e in self.seen if e.type == "response.output_audio.delta" and e.response_id == done.id]
        self.audio = b"".join(base64.b64decode(e.delta) for e in deltas)
        assert seconds(self.audio) > least_s, seconds(self.audio)
        return done.output[0].content[0].transcript

    async def write(self, text, **fields):
        content = [{"type": "input_text", "text": text}]
        item = {"type": "message", "role": "user", "content": content, **fields}
        await self.connection.conversation.item.create(item=item)


@asynccontextmanager
async def calling(node: Node, session=None, **options):
    client = AsyncOpenAI(base_url=node.base_url, api_key="any")
    async with client, client.realtime.connect(**({"model": "voiceedge"} | options)) as connection:
        call = Call(connection)
        await call.until("session.created")
        if session is not None:
            await connection.session.update(session=session)
            await call.until("session.updated")
        yield call


@scenario("greeting")
async def greeting(node):
    async with calling(node) as call:
        await call.connection.response.create(response={"instructions": "Greet the user."})
        return await call.answered()


@scenario("speech")
async def speech(node):
    async with calling(node, NAMES) as call, Microphone.open(call.append) as microphone:
        saying = asyncio.create_task(microphone.say(node.say("question")))
        heard = await call.until("conversation.item.input_audio_transcription.completed")
        assert "capital" in heard.transcript, heard
        answer = await call.answered()
        await saying
        return f"{heard.transcript} {answer}"


@scenario("second turn")
async def second(node):
    async with calling(node, NAMES) as call, Microphone.open(call.append) as microphone:
        answers = []
        for name in ("question", "followup"):
            saying = asyncio.create_task(microphone.say(node.say(name)))
            answers.append(await call.answered())
            await saying
            await asyncio.sleep(seconds(call.audio))  # who speaks earlier interrupts what is still being played
        return node.shown(answers[1], users=2, answers=1)


@scenario("tool turn")
async def tool_turn(node):
    session = {"type": "realtime", "instructions": ATLAS, "tools": [{"type": "function", **TOOL}]}
    async with calling(node, session) as call:
        await call.write("What is the capital of France?")
        await call.connection.response.create()
        arguments = await call.until("response.function_call_arguments.done")
        assert arguments.name == "capital", arguments
        assert "country" in json.loads(arguments.arguments), arguments
        done = (await call.until("response.done")).response
        assert done.output[-1].call_id == arguments.call_id, done
        output = {"type": "function_call_output", "call_id": arguments.call_id, "output": CAPITAL}
        await call.connection.conversation.item.create(item=output)
        await call.connection.response.create()
        answer = await call.answered(least_s=0.2)  # one word may do
        assert CAPITAL in answer, answer
        return f"{arguments.name}{arguments.arguments} {answer}"


@scenario("barge-in")
async def barge_in(node):
    async with calling(node, NAMES | {"instructions": STORYTELLER}) as call, Microphone.open(call.append) as microphone:
        saying = asyncio.create_task(microphone.say(node.say("story")))
        first = await call.until("response.output_audio.delta")
        await saying
        interrupting = asyncio.create_task(microphone.say(node.say("stop")))
        await call.until("input_audio_buffer.speech_started")
        dead = (await call.until("response.done")).response
        assert (dead.id, dead.status) == (first.response_id, "cancelled"), dead
        await call.connection.conversation.item.truncate(item_id=first.item_id, content_index=0, audio_end_ms=400)
        truncated = await call.until("conversation.item.truncated")
        assert truncated.audio_end_ms == 400, truncated
        after = await call.until("response.output_audio.delta")
        assert after.response_id != dead.id, "audio of the dead response"
        await interrupting
        await call.connection.response.cancel()
        await call.until("response.done")
        return "cancelled, truncated, answered again"


@scenario("push-to-talk")
async def push_to_talk(node):
    session = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
    async with calling(node, session) as call:
        question = node.say("question")
        for begin in range(0, len(question), 4800):
            await call.append(question[begin : begin + 4800])
        await call.connection.input_audio_buffer.commit()
        await call.until("input_audio_buffer.committed")
        await call.connection.response.create()
        return await call.answered()


@scenario("text")
async def text(node):
    async with calling(node, {"type": "realtime", "output_modalities": ["text"]}) as call:
        await call.write("What is the capital of France?")
        await call.connection.response.create()
        done = await call.until("response.done")
        assert not [e for e in call.seen if "audio" in e.type]
        words = "".join(e.delta for e in call.seen if e.type == "response.output_text.delta")
        assert words == done.response.output[0].content[0].text
        assert words
        return words


@scenario("transcription")
async def transcription(node):
    session = {"type": "transcription", "audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}}
    options = {"model": openai.omit, "extra_query": {"intent": "transcription"}}
    async with calling(node, session, **options) as call, Microphone.open(call.append) as microphone:
        saying = asyncio.create_task(microphone.say(node.say("question")))
        heard = await call.until("conversation.item.input_audio_transcription.completed")
        await saying
        assert "capital" in heard.transcript, heard
        return heard.transcript


@scenario("no reply")
async def no_reply(node):
    detection = {"type": "server_vad", "create_response": False, "interrupt_response": False}
    session = {"type": "realtime", "audio": {"input": {"turn_detection": detection}}}
    async with calling(node, session) as call, Microphone.open(call.append) as microphone:
        saying = asyncio.create_task(microphone.say(node.say("question")))
        await call.until("conversation.item.done")
        await saying
        try:
            async with asyncio.timeout(1.5):
                await call.until("response.created")
        except TimeoutError:
            pass
        else:
            raise AssertionError("answered unasked")
        await call.connection.response.create()
        return await call.answered()


@scenario("reconnect")
async def reconnect(node):
    async with calling(node) as call:
        await call.write("What is the capital of France?", id="mine-1")
        await call.connection.response.create()
        answer = await call.answered()
    async with calling(node) as call:
        await call.write("What is the capital of France?", id="mine-1")
        said = {"type": "message", "role": "assistant", "id": "mine-2"}
        content = [{"type": "output_text", "text": answer}]
        await call.connection.conversation.item.create(item={**said, "content": content}, previous_item_id="mine-1")
        await call.until("conversation.item.done")
        done = await call.until("conversation.item.done")
        assert done.item.id == "mine-2", done
        await call.write("And how many people live there?")
        await call.connection.response.create()
        return node.shown(await call.answered(), users=2, answers=1)


main({"openai": openai.__version__})
