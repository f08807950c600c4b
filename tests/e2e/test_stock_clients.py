"""What stock clients do that looks wrong and must not disturb them (found by tests/clients)."""

from __future__ import annotations

import pytest

from tests.e2e.caller import calling
from tests.e2e.nodes import RunningNode, running_node
from voiceedge.engines.fake import fake_engines


@pytest.fixture(scope="module")
def node():
    with running_node(fake_engines()) as node:
        yield node


async def test_truncating_an_item_of_an_earlier_connection_is_no_error(node: RunningNode):
    async with calling(node.url) as caller:
        await caller.send("conversation.item.truncate", item_id="of_before", content_index=0, audio_end_ms=700)
        await caller.send("response.create")
        await caller.until("response.done")
        assert not caller.of("error")
        assert not caller.of("conversation.item.truncated")
