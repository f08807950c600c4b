import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.e2e.nodes import running_node
from voiceedge.engines.fake import fake_engines
from voiceedge.server.client_secrets import MAX_VALUE_BYTES, PREFIX


@pytest.fixture(scope="module")
def node():
    with running_node(fake_engines()) as node:
        yield node


async def status(node, subprotocols):
    with pytest.raises(InvalidStatus) as refused:
        await connect(node.url, subprotocols=subprotocols, open_timeout=10)
    return refused.value.response.status_code


async def test_a_header_that_nobody_reads_is_refused_and_not_left_waiting(node):
    assert await status(node, ["realtime", f"openai-insecure-api-key.{'a' * 9000}"]) == 431


async def test_the_longest_client_secret_is_read_beside_all_that_clients_offer_with_it(node):
    key = f"openai-insecure-api-key.{PREFIX}{'a' * (MAX_VALUE_BYTES - len(PREFIX))}"
    others = [f"openai-organization.org-{'o' * 200}", f"openai-project.proj_{'p' * 200}", "openai-agents-sdk.0.20.0"]
    assert await status(node, ["realtime", key, *others]) == 401  # read, and not good


async def test_a_refusal_is_no_error_of_the_node(node, caplog):
    assert await status(node, ["realtime", "openai-insecure-api-key.ek_forged"]) == 401
    async with connect(node.url) as socket, asyncio.timeout(10):
        await socket.recv()
    assert [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}] == []
