"""The browser that the tests of pages use."""

import os
from pathlib import Path

import pytest

from tests.web.chromium import chromium


@pytest.fixture(scope="session")
def browser() -> Path:
    found = chromium()
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("There is no Chromium, and in CI there must be.")
        pytest.skip("There is no Chromium: scripts/chromium finds or installs it.")
    return found
