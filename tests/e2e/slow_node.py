"""The command line with fake engines whose answers take seconds: `python -m tests.e2e.slow_node serve …`."""

from __future__ import annotations

from typing import Any

from voiceedge import cli
from voiceedge.engines import Engines, fake
from voiceedge.engines.fake_defects import FakeDelays

STORY = " ".join(f"This is sentence number {n} of four." for n in range(1, 5))
"""28 words, of which the fake voice makes 8.4 s."""
TOKEN_S = 0.1


def slow_engines(_: FakeDelays, **options: Any) -> Engines:
    """Engines that tell the story."""
    return _make(FakeDelays(llm_token_s=TOKEN_S), answer=STORY, **options)


if __name__ == "__main__":
    _make = fake.fake_engines
    fake.fake_engines = slow_engines  # type: ignore[assignment]
    cli.main()
