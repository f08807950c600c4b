"""The report as a page; test_page.py opens it in a browser."""

import json
import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bench.rows import row, whole_report
from voiceedge.bench.html import inert, to_html
from voiceedge.bench.report import BenchReport, to_json

EVIL = "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>{{ style }}"


def inside(page, element):
    """What lies between the tags of the only element of its kind that is opened so."""
    (found,) = re.findall(rf"<{element}>(.*?)</{element.split()[0]}>", page, re.DOTALL)
    return found


def test_the_figures_are_in_the_page_as_they_are_in_the_json():
    told = to_json(whole_report())
    assert json.loads(inside(to_html(told), 'script type="application/json" id="report"')) == told


def test_nothing_but_its_own_script_and_style_may_run_and_nothing_is_loaded():
    page = to_html(to_json(whole_report()))
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    for kind, element in (("script-src", "script"), ("style-src", "style")):
        digest = b64encode(sha256(inside(page, element).encode()).digest()).decode()
        assert rules[kind] == f"'sha256-{digest}'"
    assert "unsafe" not in policy


def test_it_names_no_address_that_could_be_loaded():
    page = to_html(to_json(BenchReport({}, ())))
    assert set(re.findall(r"https?://[^\"' ]*", page)) == {"http://www.w3.org/2000/svg"}  # a name, not a place
    assert not re.search(r"<(?:link|img|iframe|object|base)|\ssrc=|@import|url\((?!#)", page.replace("url(#${", ""))


def test_words_from_elsewhere_cannot_become_part_of_the_page():
    evil = row(EVIL, user_text=EVIL, agent_text=EVIL, errors=(EVIL,), expected_text=EVIL, facts={EVIL: EVIL})
    report = replace(whole_report(), turns=(evil,), environment={"url": EVIL}, node={EVIL: EVIL}, command=EVIL)
    page = to_html(to_json(report))
    assert page.count("<script") == page.count("</script") == 2
    assert "<!--" not in page
    assert "<img" not in page
    assert json.loads(inside(page, 'script type="application/json" id="report"'))["turns"][0]["user_text"] == EVIL


@settings(max_examples=50)
@given(
    st.recursive(
        st.none() | st.text() | st.floats(allow_nan=False),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    )
)
def test_json_in_a_script_element_comes_out_as_it_went_in_and_holds_no_tag(value):
    text = inert(value)
    assert json.loads(text) == value
    assert not set(text) & set("<>&\u2028\u2029")


def test_a_run_without_any_turn_has_a_page():
    assert "<!doctype html>" in to_html(to_json(BenchReport({}, ())))


@pytest.mark.parametrize("name", ["charts.js", "turns.js", "report.js"])
def test_the_scripts_write_text_and_never_markup(name):
    script = (files("voiceedge.bench") / "page" / name).read_text("utf-8")
    for way in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "fetch(",
        "import(",
    ):
        assert way not in script
