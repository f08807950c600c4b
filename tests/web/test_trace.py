"""The live view in a real browser: what a node does is seen as it happens."""

import asyncio
from urllib.parse import urlsplit

import pytest

from tests.e2e.caller import calling
from tests.e2e.nodes import running_node
from tests.e2e.test_perimeter import measure
from tests.server.test_live import traced
from tests.web.chromium import browse
from voiceedge.engines.fake import fake_engines
from voiceedge.server.feed import MAX_WATCHERS

pytestmark = pytest.mark.browser

PATIENCE_S = 30.0
"""For a loaded machine; a test that passes does not wait for it."""
PATH = {"wait": 120.0, "end_of_turn": 0.0, "stt": 80.0, "llm": 400.0, "tts": 60.0, "queue": 5.0, "send": 1.0}
SEGMENTS = ["wait", "end of turn", "stt", "llm", "tts", "queue", "send"]
KEY = "a key of sixteen characters"


@pytest.fixture
def node():
    with running_node(fake_engines(), budget="p95<800ms,llm.p95<300ms") as running:
        yield running


@pytest.fixture
def page(browser, node):
    with browse(browser, None) as page:
        page.open(f"{node.http}/trace")
        page.wait("window.voiceedge.inspect().feed === 'live'", PATIENCE_S)
        yield page


def report(node, *turns):
    """Let turns end on the node."""
    for turn in turns:
        node.loop.call_soon_threadsafe(node.node.report, "sess_123456", turn)


def rows(page, number):
    page.wait(f"document.querySelectorAll('.row').length === {number}", PATIENCE_S)


def texts(page, selector):
    return page.evaluate(f"[...document.querySelectorAll('{selector}')].map((one) => one.textContent.trim())")


def assert_clean(page, node):
    assert page.complaints == []
    loaded = {urlsplit(request).netloc for request in page.requests if not request.startswith(("data:", "about:"))}
    assert loaded == {urlsplit(node.http).netloc}


async def say_something(url):
    async with calling(url) as caller:
        await caller.send("response.create")
        return await caller.until("voiceedge.turn")


def test_a_conversation_is_seen_while_it_goes_on(node, page):
    assert page.evaluate("!document.getElementById('empty').hidden")
    turn = asyncio.run(say_something(node.url))
    rows(page, 1)
    assert texts(page, ".row .took b") == [
        f"{turn['total_ms']:.0f} ms" if turn["total_ms"] >= 9.95 else page.text(".took b")
    ]
    assert page.evaluate("document.getElementById('empty').hidden")
    assert page.text("#p50") == f"{turn['total_ms']:.0f}"
    page.wait("document.getElementById('taken').textContent === '0'", PATIENCE_S)
    assert_clean(page, node)


def test_open_sessions_are_shown_with_their_state_and_the_room_that_is_left(node, page):
    async def look():
        async with calling(node.url):
            await asyncio.to_thread(page.wait, "document.querySelectorAll('#sessions li').length === 1", PATIENCE_S)
            assert page.text("#sessions .state") == "idle"
            assert (page.text("#taken"), page.text("#places"), page.text("#left")) == ("1", "of 8", "room for 7 more")

    asyncio.run(look())
    page.wait("document.querySelectorAll('#sessions li').length === 0", PATIENCE_S)


def test_a_busy_node_says_that_it_takes_no_more_and_again_how_much_room_it_has(node, page):
    asyncio.run(measure(node, 3.0, begin=0))
    page.wait("document.getElementById('left').textContent === 'busy: takes no more for now'", PATIENCE_S)
    asyncio.run(measure(node, 0.3, begin=100))
    page.wait("document.getElementById('left').textContent === 'room for 8 more'", PATIENCE_S)


def test_the_newest_turn_is_on_top_and_what_is_over_budget_is_named(node, page):
    report(node, traced(300.0, wait=300.0, number=1), traced(666.0, **PATH, number=2))
    rows(page, 2)
    assert [line.split()[-1] for line in texts(page, ".who")] == ["#2", "#1"]
    assert texts(page, ".took") == ["llm ▲ 666 ms", "300 ms"]
    assert texts(page, "#blamed") == ["llm 1"]
    page.wait("document.getElementById('overruns').textContent === '1'", PATIENCE_S)
    assert [line.split("✕")[0].split("✓")[0] for line in texts(page, "#budget li")] == [
        "totalp95 < 800666",
        "llmp95 < 300400",
    ]


def test_bars_share_one_axis_and_add_up_to_the_total(node, page):
    report(node, traced(666.0, **PATH), traced(333.0, **{name: ms / 2 for name, ms in PATH.items()}))
    rows(page, 2)
    short, long = page.evaluate(
        "[...document.querySelectorAll('.plot')].map((plot) => plot.lastChild.getBoundingClientRect().right"
        " - plot.getBoundingClientRect().left)"
    )
    assert long == pytest.approx(2 * short, rel=0.01)
    width, span = page.evaluate(
        "[document.querySelector('.plot').getBoundingClientRect().width, window.voiceedge.inspect().span]"
    )
    assert long / width == pytest.approx(666 / span, rel=0.01)
    budget = page.evaluate(
        "document.querySelector('.grid .budget').getBoundingClientRect().left"
        " - document.querySelector('.plot').getBoundingClientRect().left"
    )
    assert budget / width == pytest.approx(800 / span, rel=0.01)


def test_the_network_is_shown_behind_what_the_node_took(node, page):
    report(node, traced(300.0, facts={"round_trip_ms": 40.0}, wait=300.0))
    rows(page, 1)
    assert page.evaluate("document.querySelector('.plot').lastChild.className") == "network"
    assert texts(page, ".took") == ["300 ms"]


def test_turns_that_nobody_heard_say_why(node, page):
    report(node, traced(status="failed"), traced(status="cancelled"))
    rows(page, 2)
    assert texts(page, ".plot") == ["interrupted before its first sound", "failed"]


def test_one_turn_that_took_for_ever_does_not_hide_the_others(node, page):
    report(node, *(traced(300.0, wait=300.0) for _ in range(5)), traced(60_000.0, llm=60_000.0))
    rows(page, 6)
    assert page.evaluate("window.voiceedge.inspect().span") < 2_000
    assert page.evaluate("document.querySelectorAll('.plot.beyond').length") == 1


def test_a_click_shows_all_that_is_known_of_a_turn(node, page):
    facts = {"prefill_tokens": 12, "cached_tokens": 340, "round_trip_ms": 41.0, "wasted_ms": 7, "new_fact_ms": 3.0}
    marks = {"stt_started": -20.0, "stt_final": 60.0, "endpoint": 120.0, "llm_first_clause": 600.0}
    report(node, traced(666.0, facts=facts, marks=marks, **PATH))
    rows(page, 1)
    page.click(".row")
    assert page.evaluate("document.querySelector('.row').getAttribute('aria-expanded')") == "true"
    names = texts(page, ".detail td:first-child")
    assert names == [*SEGMENTS, "total", "network"]
    assert page.text(".detail .over") == "400 ms"
    assert texts(page, ".stages > span:not(.track)") == ["stt", "llm"]
    assert dict(zip(texts(page, ".facts dt"), texts(page, ".facts dd"), strict=True)) == {
        "status": "completed",
        "tokens read": "12",
        "tokens already known": "340",
        "network, there and back": "41 ms",
        "work thrown away": "7.0 ms",
        "new fact": "3.0 ms",
    }
    page.click(".row")
    assert page.evaluate("document.querySelector('.detail')") is None


def test_a_paused_page_stands_still_and_shows_afterwards_what_it_missed(node, page):
    report(node, traced(100.0, wait=100.0))
    rows(page, 1)
    page.click("#pause")
    report(node, traced(200.0, wait=200.0), traced(300.0, wait=300.0))
    page.wait("document.getElementById('status').textContent === 'Paused, 2 more since'", PATIENCE_S)
    rows(page, 1)
    page.click("#pause")
    rows(page, 3)
    assert texts(page, ".took b") == ["300 ms", "200 ms", "100 ms"]
    assert page.text("#of") == "ms, the last 3 turns"
    assert page.text("#status") == "Live"


def test_a_node_that_is_gone_is_said_to_be(browser):
    with browse(browser, None) as page:
        with running_node(fake_engines()) as node:
            page.open(f"{node.http}/trace")
            page.wait("document.body.dataset.feed === 'live'", PATIENCE_S)
        page.wait("document.body.dataset.feed === 'gone'", PATIENCE_S)
        assert page.text("#status") == "The node is gone, trying again …"


def test_the_page_comes_back_by_itself(browser, node):
    report(node, traced(100.0, wait=100.0))
    node.feed.watchers = MAX_WATCHERS
    with browse(browser, None) as page:
        page.open(f"{node.http}/trace")
        page.wait("document.body.dataset.feed === 'gone'", PATIENCE_S)
        node.feed.watchers = 0
        page.wait("document.body.dataset.feed === 'live'", PATIENCE_S)
        rows(page, 1)


def test_on_a_phone_nothing_runs_off_the_side(browser, node):
    report(node, traced(666.0, facts={"round_trip_ms": 40.0}, marks={"endpoint": 120.0}, **PATH))
    with browse(browser, None) as page:
        page.call("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=True)
        page.open(f"{node.http}/trace")
        rows(page, 1)
        page.click(".row")
        beyond = "[...document.querySelectorAll('body *')].filter((one) => one.getBoundingClientRect().right > 360)"
        assert page.evaluate(f"{beyond}.map((one) => one.outerHTML.slice(0, 100))") == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_operators_password_opens_page_and_stream(browser):
    with running_node(fake_engines(), admin_key=KEY) as node, browse(browser, None) as page:
        page.call("Page.navigate", url=node.http.replace("//", f"//operator:{KEY.replace(' ', '%20')}@") + "/trace")
        page.wait("document.body?.dataset.feed === 'live'", PATIENCE_S)
        page.open(f"{node.http}/trace")  # as somebody does who was asked for it before
        page.wait("document.body.dataset.feed === 'live'", PATIENCE_S)
