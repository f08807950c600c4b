import asyncio
import itertools
import json
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from tests.e2e.caller import calling
from tests.e2e.nodes import running_node
from tests.server.test_admission import measure
from tests.server.test_live import traced
from tests.speech import utterance
from voiceedge.engines.fake import fake_engines
from voiceedge.server.admission import Admission
from voiceedge.server.capacity import Capacity
from voiceedge.server.feed import BEAT_S, CPU_WINDOW_S, MAX_WATCHERS, Feed
from voiceedge.server.judging import read_budget
from voiceedge.server.live import KEPT_TURNS, Live
from voiceedge.server.serving import DRAIN_S


class Moment:
    """A clock that a test sets."""

    def __init__(self):
        self.s = 1000.0

    def __call__(self):
        return self.s


class Watched:
    """A feed of which everything else is in the hands of the test."""

    def __init__(self, tick_s=0.0):  # the loop goes round at once; what depends on time asks the clock
        self.clock, self.cpu = Moment(), Moment()
        self.live = Live(read_budget("p50<400ms,p95<800ms,llm.p95<300ms"))
        self.admission = Admission(4, capacity=Capacity(2.0))
        self.sessions = []
        self.node = SimpleNamespace(compute=SimpleNamespace(waiting=0), missing=frozenset())
        self.feed = Feed(
            self.live,
            lambda: self.sessions,
            self.admission,
            self.node,
            cores=2,
            clock=self.clock,
            cpu=self.cpu,
            tick_s=tick_s,
        )
        self.told = self.feed.events()

    def open(self, session_id="sess_123456", state="idle", opened_at=500):
        self.sessions.append(SimpleNamespace(state=state, opened_at=opened_at, config=SimpleNamespace(id=session_id)))
        return self.sessions[-1]

    def turn(self, total_ms=300.0, session_id="sess_123456", **more):
        self.live.report(session_id, traced(total_ms, **more))

    async def next(self, after_s=0.25):
        self.clock.s += after_s
        async with asyncio.timeout(20):
            return await anext(self.told)

    async def ends(self):
        self.clock.s += 0.25
        return [event async for event, _ in self.told]


@pytest.fixture
def watched():
    return Watched()


async def test_a_watcher_begins_with_all_that_is_known(watched):
    watched.turn(facts={"round_trip_ms": 40.0})
    watched.open(state="hearing")
    watched.node.compute.waiting = 3
    event, snapshot = await watched.next()
    assert event == "snapshot"
    assert [turn.total_ms for turn in snapshot.turns] == [300.0]
    assert snapshot.limits == {"total": 800.0, "llm": 300.0}
    assert snapshot.figures.turns == 1
    (session,) = snapshot.standing.sessions
    assert (session.id, session.state, session.opened_at) == ("123456", "hearing", 500)
    assert (session.turn, session.total_ms, session.round_trip_ms) == (1, 300.0, 40.0)
    capacity = snapshot.standing.capacity
    assert (capacity.sessions, capacity.max_sessions, capacity.state, capacity.queue) == (0, 4, "ready", 3)


async def test_turns_are_told_in_order_and_their_figures_behind_them(watched):
    await watched.next()
    watched.turn(300.0)
    watched.turn(500.0)
    told = [await watched.next() for _ in range(3)]
    assert [event for event, _ in told] == ["turn", "turn", "figures"]
    assert [turn.number for _, turn in told[:2]] == [1, 2]
    assert told[2][1].total.p95 == 500.0


async def test_sessions_are_told_when_something_has_changed_and_only_then(watched):
    session = watched.open()
    await watched.next()
    session.state = "thinking"
    event, standing = await watched.next()
    assert (event, standing.sessions[0].state) == ("sessions", "thinking")
    watched.turn(session_id="sess_another")  # whatever comes next is not about sessions that have not changed
    assert [(await watched.next())[0] for _ in range(2)] == ["turn", "figures"]
    watched.sessions.clear()
    assert (await watched.next())[1].sessions == ()


async def test_that_the_node_takes_no_more_for_now_is_told(watched):
    await watched.next()
    measure(watched.admission, 3.0)
    event, standing = await watched.next()
    assert (event, standing.capacity.state) == ("sessions", "busy")
    measure(watched.admission, 0.5, begin=100)
    watched.node.missing = frozenset({"stt"})
    assert (await watched.next())[1].capacity.state == "loading"


async def test_who_hears_nothing_for_long_is_told_that_the_node_is_there(watched):
    await watched.next()
    assert (await watched.next(after_s=BEAT_S))[0] == "beat"
    watched.turn()
    assert (await watched.next(after_s=BEAT_S - 1.0))[0] == "turn"
    assert (await watched.next())[0] == "figures"
    assert (await watched.next(after_s=BEAT_S))[0] == "beat"


async def test_who_takes_too_little_is_cut_off_and_keeps_nothing_in_memory(watched):
    await watched.next()
    for _ in range(KEPT_TURNS + 1):
        watched.turn()
    assert await watched.ends() == []


async def test_who_is_just_not_too_slow_misses_no_turn(watched):
    await watched.next()
    for _ in range(KEPT_TURNS):
        watched.turn()
    numbers = [(await watched.next())[1].number for _ in range(KEPT_TURNS)]
    assert numbers == list(range(1, KEPT_TURNS + 1))


async def test_it_ends_when_the_node_stops(watched):
    await watched.next()
    watched.admission.drain()
    assert await watched.ends() == ["sessions"]


async def test_it_shows_the_last_conversations_of_a_node_that_stops(watched):
    await watched.next()
    with watched.admission.session():
        watched.admission.drain()
        event, standing = await watched.next()
        assert (event, standing.capacity.state, standing.capacity.sessions) == ("sessions", "draining", 1)
        watched.turn()
        assert (await watched.next())[0] == "turn"
        assert (await watched.next())[0] == "figures"
    assert await watched.ends() == ["sessions"]


async def test_no_conversation_keeps_it_open_for_ever(watched):
    await watched.next()
    with watched.admission.session():
        watched.admission.drain()
        await watched.next()
        watched.clock.s += DRAIN_S + 1.0
        assert len(await watched.ends()) <= 1


async def test_the_processors_share_is_that_of_the_last_seconds(watched):
    assert (await watched.next())[1].standing.capacity.cpu is None
    watched.cpu.s += 3.0
    assert (await watched.next(after_s=2.0))[1].capacity.cpu == 1.5
    for _ in range(3):
        watched.clock.s += CPU_WINDOW_S
        idle = watched.feed._look().capacity.cpu
    assert idle == 0.0


async def test_one_look_serves_all_who_watch_at_a_time():
    watched, looks = Watched(tick_s=0.25), []
    watched.feed._sessions = lambda: looks.append(1) or ()
    for _ in range(3):
        await anext(watched.feed.events())
    assert len(looks) == 1


# ── over the wire ─────────────────────────────────────────────────────────────────────────────────────────


class Stream:
    """What a node sends to one who watches."""

    def __init__(self, reader, head):
        self._reader = reader
        self.head = head.decode().lower()

    async def lines(self):
        while line := await self._reader.readline():
            yield line.decode().strip()  # chunks begin and end with lines of their own

    async def read(self, kind):
        """The data of the next event of a kind."""
        event = None
        async for line in self.lines():
            if line.startswith("event: "):
                event = line.removeprefix("event: ")
            elif line.startswith("data: ") and event == kind:
                return json.loads(line.removeprefix("data: "))
        pytest.fail(f"the stream ended before {kind}")


@asynccontextmanager
async def watching(node):
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port, limit=2**20)
        try:
            writer.write(b"GET /trace/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            yield Stream(reader, await reader.readuntil(b"\r\n\r\n"))
        finally:
            writer.close()
            await writer.wait_closed()


@pytest.fixture
def node():
    with running_node(fake_engines(), budget="p95<5ms,wait.p95<20s") as running:
        yield running


async def test_a_turn_reaches_whoever_watches_and_the_client_knows_that_it_was_over(node):
    async with watching(node) as stream:
        assert "content-type: text/event-stream" in stream.head
        assert "cache-control: no-store" in stream.head
        assert (await stream.read("snapshot"))["turns"] == []
        async with calling(node.url) as caller:
            await caller.send("response.create")
            mine = await caller.until("voiceedge.turn")
            turn = await stream.read("turn")
            assert (turn["total_ms"], turn["marks_ms"]) == (mine["total_ms"], mine["marks_ms"])
            over = mine["total_ms"] >= 5.0
            assert ("over_budget" in mine["facts"]) == ("over_budget" in turn["facts"]) == over
        while (await stream.read("sessions"))["capacity"]["sessions"]:
            pass
    async with asyncio.timeout(20):
        while node.feed.watchers:  # noqa: ASYNC110 - nothing tells that it has noticed
            await asyncio.sleep(0)


async def test_no_more_than_a_few_may_watch(node):
    node.feed.watchers = MAX_WATCHERS
    async with watching(node) as stream:
        assert stream.head.startswith("http/1.1 503")
        assert "retry-after: 5" in stream.head


async def test_a_node_that_somebody_watches_stops(node):
    async with watching(node) as stream:
        await stream.read("snapshot")
        node.stop()
        assert [line async for line in stream.lines()][-2:] == ["0", ""]  # the chunk that ends it


async def test_a_sessions_state_is_what_goes_on_in_it(node):
    states = []
    async with watching(node) as stream, calling(node.url) as caller:
        for awaited in ("idle", "speaking"):
            while awaited not in states:
                standing = await stream.read("sessions")
                states += [session["state"] for session in standing["sessions"]]
            if awaited == "idle":
                await caller.hear_in_real_time(utterance("Paris?", pause_s=1.2))
    order = [state for state, _ in itertools.groupby(states) if state != "thinking"]  # which may be over in a moment
    assert order == ["idle", "hearing", "speaking"]
