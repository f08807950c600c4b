"""openai-agents (Python): `RealtimeRunner` over its WebSocket model. It validates every event strictly."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from importlib.metadata import version

from agents import function_tool
from agents.realtime import RealtimeAgent, RealtimeModelSendRawMessage, RealtimeRunner
from scenarios import ATLAS, CAPITAL, STORYTELLER, Microphone, Node, main, scenario, seconds, until

BRIEF = "You are a helpful assistant. Answer in one sentence."


class Call:
    """A running session, and what its events said."""

    def __init__(self, session):
        self.session = session
        self.events = []
        self.raw = []
        self.audio = {}

    async def listen(self):
        async for event in self.session:
            self.events.append(event)
            match event.type:
                case "error":
                    self.raw.append({"type": "error", "error": str(event.error)})
                case "raw_model_event" if event.data.type == "raw_server_event":
                    self.raw.append(event.data.data)
                case "audio":
                    self.audio[event.item_id] = self.audio.get(event.item_id, b"") + event.audio.data

    def count(self, kind):
        return sum(event["type"] == kind for event in self.raw)

    async def until(self, kind, times=1):
        await until(lambda: self.count(kind) >= times or self.count("error"), kind)
        errors = [event["error"] for event in self.raw if event["type"] == "error"]
        assert not errors, errors[0]

    async def answers(self, times):
        """Words of the last answer, from the history that the session keeps."""
        await self.until("response.done", times)
        await until(lambda: len(self.said("assistant")) >= times, "the answer in the history", 5.0)
        return self.said("assistant")[-1]

    def said(self, role):
        items = [item for item in self.session._history if item.type == "message" and item.role == role]
        return [words for item in items if (words := _words(item))]

    async def send(self, kind):
        message = {"type": kind}
        await self.session.model.send_event(RealtimeModelSendRawMessage(message=message))


def _words(item):
    return " ".join(
        filter(None, (getattr(part, "transcript", None) or getattr(part, "text", None) for part in item.content))
    )


@asynccontextmanager
async def calling(node: Node, instructions=BRIEF, tools=(), **settings):
    agent = RealtimeAgent(name="Test", instructions=instructions, tools=list(tools))
    settings = {"model_name": "gpt-realtime", **settings}
    runner = RealtimeRunner(agent, config={"tracing_disabled": True})
    where = {"url": f"{node.socket_url}?model=voiceedge", "api_key": "any"}
    model_config = {**where, "initial_model_settings": settings}
    async with await runner.run(model_config=model_config) as session:
        call = Call(session)
        listening = asyncio.create_task(call.listen())
        try:
            yield call
        finally:
            listening.cancel()
            await asyncio.wait([listening])
    errors = [event["error"] for event in call.raw if event["type"] == "error"]
    assert not errors, errors


@scenario("greeting")
async def greeting(node):
    async with calling(node) as call:
        await call.until("session.updated")
        await call.send("response.create")
        return await call.answers(1)


@scenario("speech")
async def speech(node):
    async with calling(node) as call, Microphone.open(call.session.send_audio) as microphone:
        await microphone.say(node.say("question"))
        answer = await call.answers(1)
        assert "capital" in call.said("user")[0], call.said("user")
        assert len(next(iter(call.audio.values()))) > 24_000
        return f"{call.said('user')[0]} {answer}"


@scenario("second turn")
async def second(node):
    async with calling(node) as call, Microphone.open(call.session.send_audio) as microphone:
        await microphone.say(node.say("question"))
        await call.answers(1)
        await asyncio.sleep(
            seconds(b"".join(call.audio.values()))
        )  # who speaks earlier interrupts what is being played
        await microphone.say(node.say("followup"))
        return node.shown(await call.answers(2), users=2, answers=1)


@scenario("tool turn")
async def tool_turn(node):
    asked = []

    @function_tool
    def capital(country: str) -> str:
        """Looks up the capital of a country in the atlas."""
        asked.append(country)
        return CAPITAL

    async with (
        calling(node, ATLAS, tools=[capital]) as call,
        Microphone.open(call.session.send_audio) as microphone,
    ):
        await microphone.say(node.say("question"))
        await call.until("response.done", 2)
        await until(lambda: CAPITAL in call.said("assistant")[-1], "the result in the answer", 5.0)
        assert len(asked) == 1, asked
        ended = [event.output for event in call.events if event.type == "tool_end"]
        assert ended == [CAPITAL], ended
        return f"capital({asked[0]}) {call.said('assistant')[-1]}"


@scenario("barge-in")
async def barge_in(node):
    async with calling(node, STORYTELLER) as call, Microphone.open(call.session.send_audio) as microphone:
        await microphone.say(node.say("story"))
        await call.until("response.output_audio.delta")
        await microphone.say(node.say("stop"))
        await until(lambda: any(event.type == "audio_interrupted" for event in call.events), "audio_interrupted")
        await call.until("response.done")
        await call.until("conversation.item.truncated")
        dead = next(event["response"] for event in call.raw if event["type"] == "response.done")
        assert dead["status"] == "cancelled", dead
        await until(lambda: len(call.audio) > 1, "audio of the next answer")
        return "cancelled, truncated, answered again"


@scenario("push-to-talk")
async def push_to_talk(node):
    async with calling(node, turn_detection=None) as call:
        await call.until("session.updated")
        question = node.say("question")
        for begin in range(0, len(question), 4800):
            await call.session.send_audio(question[begin : begin + 4800])
        await call.session.send_audio(b"", commit=True)
        await call.send("response.create")
        return await call.answers(1)


@scenario("text")
async def text(node):
    async with calling(node, output_modalities=["text"]) as call:
        await call.session.send_message("What is the capital of France?")
        await call.answers(1)
        assert not call.audio
        # two at once: the client holds its second response.create back until the first is done
        await call.session.send_message("And how many people live there?")
        await call.session.send_message("In the whole country, I mean.")
        await until(lambda: len(call.said("user")) == 3 and len(call.said("assistant")) > 1, "the messages")
        return " / ".join(call.said("assistant"))


@scenario("no reply")
async def no_reply(node):
    detection = {"type": "server_vad", "create_response": False, "interrupt_response": False}
    async with calling(node, turn_detection=detection) as call, Microphone.open(call.session.send_audio) as microphone:
        await microphone.say(node.say("question"))
        await call.until("conversation.item.done")
        await asyncio.sleep(1.5)
        assert not call.count("response.created"), "answered unasked"
        await call.send("response.create")
        return await call.answers(1)


main({"openai-agents": version("openai-agents")})
