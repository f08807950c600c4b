"""docs/security.md: every line names a test that exists, and every attack of the library is in it."""

from __future__ import annotations

import re

import pytest

from tests.adversary.library import ATTACKS, table
from tests.documents import ROOT, declared
from tests.fuzz.targets import TARGETS

DOCUMENT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = re.compile(r"(tests/[\w/]+\.py)::(\w+)(?:\[([\w-]+)\])?")
HEADER = "| requirement | what we do | test |"


def lines() -> list[tuple[str, str, str]]:
    """The checklist's lines: requirement, what is done, tests."""
    tables = [part.split("\n\n", 1)[0] for part in DOCUMENT.split(HEADER)[1:]]
    rows = [row for one in tables for row in one.strip().splitlines()[1:]]
    cells = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]
    assert all(len(row) == 3 for row in cells), [row for row in cells if len(row) != 3]
    return [(row[0], row[1], row[2]) for row in cells]


def test_the_checklist_is_found():
    assert len(lines()) > 60
    assert len({requirement for requirement, _, _ in lines()}) == len(lines())


@pytest.mark.parametrize("line", lines(), ids=lambda line: line[0][:60])
def test_every_line_of_the_checklist_names_tests_that_exist(line: tuple[str, str, str]):
    _, done, tests = line
    assert done
    found = NAMED.findall(tests)
    assert found
    assert NAMED.sub("", tests).strip(" ,`") == ""
    for path, name, attack in found:
        assert (ROOT / path).exists(), path
        assert name in declared(path), f"{path}::{name}"
        assert not attack or attack in ATTACKS, attack


def test_the_number_of_fuzzed_targets_is_the_true_one():
    assert re.findall(r"(\d+) targets fuzzed", DOCUMENT) == [str(len(TARGETS))]


def test_every_attack_is_in_the_document():
    shown = re.search(r"<!-- attacks -->\n(.*?)\n<!-- /attacks -->", DOCUMENT, re.DOTALL)
    assert shown is not None
    assert shown.group(1) == table()
