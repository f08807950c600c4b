"""What makes a node finish, and what cuts its answers off: its own doom, and signals from outside."""

import asyncio
import signal as signals

import pytest

from tests.e2e.caller import calling
from tests.e2e.nodes import running_node
from voiceedge.engines.fake import fake_engines
from voiceedge.engines.fake_defects import FakeDelays
from voiceedge.server.serving import Server


class Stopping:
    """Stands for the sockets: an answer lasts for as long as a test wants."""

    def __init__(self):
        self.answered = asyncio.Event()

    async def drain(self, within_s):
        await self.answered.wait()


class Door:
    def __init__(self):
        self.drains = 0

    def drain(self):
        self.drains += 1


async def told(*stops):
    """A server in the middle of an answer that was told so often to stop."""
    door, sockets = Door(), Stopping()
    server = Server(None, sockets, door)
    await server.startup([])
    for stop in stops:
        stop(server)
        await asyncio.sleep(0)  # both go through the loop
    return server, door, sockets


def doom(server):
    server.finish()


def signal(server):
    server.handle_exit(signals.SIGTERM, None)


@pytest.mark.parametrize(
    "stops",
    [(doom,), (signal,), (doom, doom), (doom, signal), (signal, doom), (doom, signal, doom)],
    ids=lambda stops: "-".join(stop.__name__ for stop in stops),
)
async def test_only_a_second_signal_cuts_answers_off_and_a_node_that_is_doomed_sends_none(stops):
    server, door, sockets = await told(*stops)
    assert door.drains == 1
    assert not server.should_exit
    sockets.answered.set()
    await server._draining
    assert server.should_exit
    assert not server.force_exit


@pytest.mark.parametrize(
    "stops",
    [(signal, signal), (doom, signal, signal), (signal, doom, signal)],
    ids=lambda stops: "-".join(stop.__name__ for stop in stops),
)
async def test_who_asks_twice_does_not_wait_for_answers(stops):
    server, door, sockets = await told(*stops)
    assert door.drains == 1
    assert server.should_exit
    assert server.force_exit
    sockets.answered.set()
    await server._draining


async def test_a_node_that_is_doomed_before_it_listens_finishes_then():
    door, sockets = Door(), Stopping()
    server = Server(None, sockets, door)
    server.finish()
    await server.startup([])
    assert door.drains == 1
    sockets.answered.set()
    await server._draining
    assert server.should_exit


def test_a_node_that_has_come_to_its_end_may_still_be_told_to_finish():
    async def serve():
        server, _, sockets = await told(doom)
        sockets.answered.set()
        await server._draining
        return server

    asyncio.run(serve()).finish()


async def test_systemctl_stop_while_a_doomed_node_drains_does_not_cut_its_answers_off():
    with running_node(fake_engines(FakeDelays(llm_token_s=0.02), answer="One two three four. " * 5)) as node:
        async with calling(node.url) as caller:
            await caller.send("response.create")
            await caller.until("response.output_audio.delta")
            for stop in (node.server.finish, node.server.finish, node.stop):
                stop()
            assert (await caller.until("response.done"))["response"]["status"] == "completed"
        node.stop = lambda: None  # it stops by itself
