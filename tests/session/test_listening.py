"""Witnesses of the end of a turn that nobody waits for any more."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from voiceedge.conversation.endpoint import Ended, Resumed, Started, Undecided
from voiceedge.session.listening import Listening
from voiceedge.trace import now


class Waiting:
    """A scheduler whose threads are never free."""

    load = 0.0

    def __init__(self):
        self.asked = 0
        self.cancelled = 0

    async def run(self, work, *, deadline, name):
        del work, deadline, name
        self.asked += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


class Script:
    """Hears what a test has written down: a list of decisions a message."""

    def __init__(self, *messages):
        self._messages = iter(messages)
        self.endpoint = SimpleNamespace(is_hearing=False, is_thrifty=False)
        self.ring = SimpleNamespace(read=lambda begin, end: np.zeros(end - begin, np.float32))

    async def listen(self, data, *, agent_audible):
        del data, agent_audible
        for decision in next(self._messages):
            yield decision

    def moment(self, sample):
        del sample
        return now()


@pytest.mark.parametrize("over", [Resumed(1), Ended(0, 400, 500, 500)])
async def test_the_end_of_turn_model_is_not_asked_any_more_when_the_pause_is_over(over):
    compute, tasks = Waiting(), []

    def spawn(work, name):
        tasks.append(asyncio.create_task(work, name=name))
        return tasks[-1]

    def nothing(*_):
        pass

    hearing = Script([Started(0), Undecided(1, 0, 400)], [over])
    node = SimpleNamespace(compute=compute, engines=SimpleNamespace(end_of_turn=None))
    listening = Listening(
        node, hearing, spawn, on_started=nothing, on_paused=nothing, on_resumed=nothing, on_ended=nothing
    )
    await listening.hear(b"", agent_audible=False)
    await asyncio.sleep(0)
    assert (compute.asked, compute.cancelled) == (1, 0)
    await listening.hear(b"", agent_audible=False)
    await asyncio.wait(tasks)
    assert compute.cancelled == 1


@pytest.mark.parametrize(("load", "is_thrifty"), [(0.0, False), (0.9, True)])
async def test_the_endpoint_is_told_whether_the_cpu_is_needed_elsewhere(load, is_thrifty):
    compute, hearing = Waiting(), Script([])
    compute.load = load
    node = SimpleNamespace(compute=compute)
    listening = Listening(node, hearing, None, on_started=None, on_paused=None, on_resumed=None, on_ended=None)
    await listening.hear(b"", agent_audible=False)
    assert hearing.endpoint.is_thrifty == is_thrifty
