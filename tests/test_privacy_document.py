"""Every claim of docs/privacy.md names a test that exists."""

import re

import pytest

from tests.documents import ROOT, declared

TEXT = (ROOT / "docs" / "privacy.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", TEXT)))


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_the_test_that_a_claim_names_exists(path: str, name: str):
    tests = declared(path)
    assert tests
    assert name in tests or not name


def test_every_row_of_claims_names_one():
    claims = re.findall(r"\| claim \| test \|\n\|---\|---\|\n((?:\|.*\n)+)", TEXT)
    assert len(claims) == 2
    for row in "".join(claims).splitlines():
        assert "`tests/" in row or row.endswith("| the same |"), row
