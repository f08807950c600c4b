"""The page of a report in a real browser, opened from disk."""

import os
from dataclasses import replace

import pytest

from tests.bench.rows import row, whole_report
from tests.web.chromium import browse, chromium
from voiceedge.bench.html import to_html
from voiceedge.bench.ramp_steps import RampStep
from voiceedge.bench.report import BenchReport, to_json

pytestmark = pytest.mark.browser

PATIENCE_S = 20.0
EVIL = "</script><img src=x onerror='window.evil=1'><b>bold</b>"


@pytest.fixture(scope="module")
def browser():
    found = chromium()
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("There is no Chromium, and in CI there must be.")
        pytest.skip("There is no Chromium: scripts/chromium finds or installs it.")
    with browse(found, None) as page:
        yield page


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a report as a page; afterwards nothing was complained of and nothing was loaded."""

    def open_it(report, width=1000):
        browser.requests.clear()
        browser.complaints.clear()
        shape = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.call("Emulation.setDeviceMetricsOverride", **shape)
        path = tmp_path / "report.html"
        path.write_text(to_html(to_json(report)), encoding="utf-8")
        browser.open(f"file://{path}")
        browser.wait("document.querySelector('[data-chart=cumulative] svg')", PATIENCE_S)
        return browser

    yield open_it
    assert browser.complaints == []
    assert all(request.startswith("file:") for request in browser.requests)


def texts(page, selector):
    return page.evaluate(f"[...document.querySelectorAll({selector!r})].map((one) => one.textContent)")


def test_a_whole_report_is_drawn_without_network_and_without_a_complaint(opened):
    page = opened(whole_report())
    drawn = page.evaluate(
        "[...document.querySelectorAll('[data-chart]')].filter((one) => one.querySelector('svg')).length"
    )
    assert drawn == 5
    assert "254 ms" in page.text("#cards")
    assert "capacity\n1 conversations" in page.text("#cards")
    assert "p50<800ms is kept" in page.text("#verdicts")
    assert "no difference" in page.text("#verdicts")
    assert "never answered: 1 of 9" in texts(page, "[data-chart=cumulative] text")
    assert "among failed turns" in texts(page, "[data-chart=compositions] text")
    assert "From the first to the last quarter" in page.text("#judged")
    assert "6 conversations a minute: 9 arrived" in page.text("#judged")
    assert "small" in page.text("#environment")
    assert page.text("#command") == "voiceedge bench host:1 --slo 'p95<200ms'"


def test_a_number_of_conversations_that_was_refused_is_called_so(opened):
    report = whole_report()
    steps = (*report.ramp.steps, RampStep(4, BenchReport({}, ()), kept=False))
    page = opened(replace(report, ramp=replace(report.ramp, steps=steps)))
    page.evaluate(
        "for (const mark of document.querySelectorAll('[data-chart=capacity] .cross'))"
        " mark.dispatchEvent(new PointerEvent('pointermove'))"
    )
    assert page.evaluate("document.getElementById('hint').textContent") == "4 at once: refused"


def test_any_turn_can_be_chosen_with_the_arrow_keys_a_click_and_in_the_order_of_the_table(opened):
    page = opened(whole_report())
    chosen = "document.getElementById('which').textContent.split(' · ')[1]"
    assert page.evaluate(chosen) == "r3"

    def press(key):
        event = f"new KeyboardEvent('keydown', {{key: '{key}', bubbles: true}})"
        page.evaluate(f"document.getElementById('rows').dispatchEvent({event})")

    press("ArrowDown")
    assert page.evaluate(chosen) == "r4"
    assert texts(page, "#turns tr.chosen td:nth-child(4)") == ["r4"]
    page.click("#turns tbody tr:first-child")
    assert page.evaluate(chosen) == "r0"
    press("ArrowUp")
    assert page.evaluate(chosen) == "r0"
    page.click("#turns th:nth-child(5) button")
    page.click("#turns th:nth-child(5) button")
    assert texts(page, "#turns td:nth-child(4)")[:2] == ["failed", "r7"]
    assert page.evaluate("document.querySelector('#turns th:nth-child(5)').ariaSort") == "descending"
    press("ArrowUp")
    assert page.evaluate(chosen) == "r1"


def test_the_waterfall_shows_the_path_and_what_ran_beside_it(opened):
    page = opened(whole_report())
    words = texts(page, "[data-chart=waterfall] text")
    assert {"endpoint wait", "stt", "llm", "tts", "send", "253 ms" + "heard", "60 to 110"} <= set(words)
    hatched = "document.querySelectorAll('[data-chart=waterfall] rect[fill^=\"url(#hidden\"]').length"
    assert page.evaluate(hatched) == 3


def test_the_turns_of_one_conversation_can_be_looked_at_alone(opened):
    page = opened(BenchReport({}, tuple(row("a", 300.0 + n, session=n % 2 + 1, zero_s=float(n)) for n in range(6))))
    marks = "document.querySelectorAll('[data-chart=timeline] .dot').length"
    assert page.evaluate(marks) == 6
    page.evaluate(
        "const s = document.querySelector('#filter select'); s.value = '2'; s.dispatchEvent(new Event('change'))"
    )
    assert page.evaluate(marks) == 3


def test_words_from_elsewhere_stay_words(opened):
    evil = row(EVIL, user_text=EVIL, agent_text=EVIL, errors=(EVIL,), facts={EVIL: EVIL}, zero_s=1.0)
    page = opened(replace(whole_report(), turns=(evil,), environment={"url": EVIL, EVIL: EVIL}, node={EVIL: [EVIL]}))
    assert page.evaluate("window.evil") is None
    assert page.evaluate("document.querySelectorAll('img, main b b').length") == 0
    assert EVIL in page.text("#words")
    assert EVIL in page.text("#environment")


@pytest.mark.parametrize("width", [360, 1400])
def test_it_can_be_read_on_a_phone_and_on_a_wide_screen(opened, width):
    page = opened(whole_report(), width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = f"[...document.querySelectorAll('svg text')].filter((one) => one.getBoundingClientRect().right > {width})"
    assert page.evaluate(f"{outside}.map((one) => one.textContent)") == []


@pytest.mark.parametrize("rows", [(), (row("a", None, critical_path=(), server_v2v_ms=None, problems=("no_answer",)),)])
def test_a_run_without_an_answer_has_a_page(opened, rows):
    page = opened(BenchReport({}, rows))
    assert f"of {len(rows)}" in page.text("#cards")
    assert page.evaluate("document.getElementById('composition').hidden") is True


def test_the_figures_can_be_downloaded(opened):
    page = opened(whole_report())
    page.evaluate(
        "URL.createObjectURL = (blob) => { blob.text().then((text) => { window.saved = text; }); return '#'; }"
    )
    page.click("#download")
    page.wait("window.saved", PATIENCE_S)
    assert page.evaluate("JSON.parse(window.saved).schema") == "voiceedge.bench/3"
