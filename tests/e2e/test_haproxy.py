"""HAProxy in front of two nodes, as deploy/haproxy.cfg has it."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.e2e.caller import Caller, calling
from tests.e2e.processes import FAKE, SLOW, Process, node
from tests.e2e.proxies import DEPLOY, Proxy, haproxy, program
from tests.e2e.test_signals import STORY_BYTES, close_code, speaking
from voiceedge.server.api_keys import hashed, make_key

pytestmark = pytest.mark.proxies


def through(proxy: Proxy, **options: Any):
    return calling(proxy.url, ssl=proxy.trust, **options)


async def sessions(process: Process) -> int:
    return int((await process.get("/readyz"))[1]["sessions"])


async def refused_while_draining(process: Process) -> int:
    """How many handshakes a node has refused because it is about to stop."""
    _, writer = reader_writer = await asyncio.open_connection("127.0.0.1", process.port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    text = (await reader_writer[0].read()).decode()
    writer.close()
    (line,) = [line for line in text.splitlines() if line.startswith('voiceedge_refusals_total{reason="draining"}')]
    return int(float(line.split()[-1]))


async def answered(caller: Caller) -> str:
    """Ask for an answer in writing, and return how it ended."""
    await caller.update(output_modalities=["text"])
    await caller.send("response.create")
    return str((await caller.until("response.done"))["response"]["status"])


async def test_a_node_that_drains_finishes_its_answer_and_the_other_one_takes_what_comes(tmp_path: Path):
    async with (
        node(*FAKE, "--max-sessions", "16", "--drain-s", "120", module=SLOW) as a,
        node(*FAKE, "--max-sessions", "16", "--drain-s", "120", module=SLOW) as b,
        haproxy(tmp_path, a, b) as proxy,
        through(proxy) as caller,
        AsyncExitStack() as calls,
    ):
        await speaking(caller)
        stopping, other = (a, b) if await sessions(a) else (b, a)
        idle = await calls.enter_async_context(through(proxy))
        idle_is_there = await sessions(stopping) == 2
        before = await sessions(other)
        stopping.send(signal.SIGTERM)
        # at once, when no health check has noticed yet, and again and again until the answer is over
        new: list[Caller] = await asyncio.gather(*(calls.enter_async_context(through(proxy)) for _ in range(5)))
        assert await refused_while_draining(stopping) > 0, "some were let in, and asked the other node then"
        while not caller.of("response.done"):
            await caller.next()
            if len(new) < 7 and len(caller.seen) % 20 == 0:
                new.append(await calls.enter_async_context(through(proxy)))
        assert caller.of("response.done")[0]["response"]["status"] == "completed"
        assert len(caller.audio()) == STORY_BYTES
        assert await close_code(caller) == 1001
        assert await stopping.ended() == 0  # long before the time to drain is over
        assert await sessions(other) == before + len(new)
        if idle_is_there:
            assert await close_code(idle) == 1001
        assert await asyncio.gather(*(answered(one) for one in new[:2])) == ["completed"] * 2
        await calls.enter_async_context(through(proxy))  # nobody listens there any more
        assert await sessions(other) == before + len(new) + 1


async def test_a_node_that_is_full_or_gone_is_passed_over_and_the_last_refusal_is_passed_on(tmp_path: Path):
    async with (
        node(*FAKE, "--max-sessions", "1") as a,
        node(*FAKE, "--max-sessions", "1") as b,
        haproxy(tmp_path, a, b) as proxy,
        through(proxy),
        through(proxy),
    ):
        assert [await sessions(a), await sessions(b)] == [1, 1]
        assert await overloaded(proxy) == "All 1 sessions of this node are taken."
        for gone in (b, a):
            gone.send(signal.SIGKILL)
            await gone.ended()
            message = await overloaded(proxy)  # from the node that is left, or from the proxy: clients read either
        assert message == "No node can be reached."


async def overloaded(proxy: Proxy) -> str:
    """What a client is told that cannot be served now."""
    with pytest.raises(InvalidStatus) as refused:
        await connect(proxy.url, ssl=proxy.trust)
    response = refused.value.response
    assert (response.status_code, int(response.headers["Retry-After"]) > 0) == (503, True)
    assert response.headers["Content-Type"] == "application/json"
    error = json.loads(response.body)["error"]
    assert (error["type"], error["code"]) == ("server_error", "overloaded")
    return str(error["message"])


async def test_refusals_of_a_key_are_passed_on_with_what_they_say(tmp_path: Path):
    key = make_key()
    keys = tmp_path / "keys.toml"
    keys.write_text(f'[[key]]\nname = "shop"\nsha256 = "{hashed(key)}"\nsessions = 1\n', "utf-8")
    flags = (*FAKE, "--api-keys", str(keys))
    good = {"additional_headers": {"Authorization": f"Bearer {key}"}}
    async with (
        node(*flags) as a,
        node(*flags) as b,
        haproxy(tmp_path, a, b) as proxy,
        through(proxy, **good),
        through(proxy, **good),
    ):
        for headers, status in ((good["additional_headers"], 429), ({}, 401)):
            with pytest.raises(InvalidStatus) as refused:
                await connect(proxy.url, ssl=proxy.trust, additional_headers=headers)
            assert refused.value.response.status_code == status
            assert json.loads(refused.value.response.body)["error"]["code"]
        assert int(refused.value.response.headers.get("Retry-After", 1)) > 0


async def assert_addresses_are_told_apart(proxy: Proxy) -> None:
    """Of two nodes with `ONE_AN_ADDRESS`: each address has its limit, and nobody can make up another one."""
    one, other = {"local_addr": ("127.0.0.2", 0)}, {"local_addr": ("127.0.0.3", 0)}
    forged = {"X-Forwarded-For": "192.0.2.7", "X-Real-IP": "192.0.2.7", "Forwarded": "for=192.0.2.7"}
    async with through(proxy, **one), through(proxy, **one):
        with pytest.raises(InvalidStatus) as refused:
            await connect(proxy.url, ssl=proxy.trust, additional_headers=forged, **one)
        assert refused.value.response.status_code == 429
        async with through(proxy, **other):
            pass


ONE_AN_ADDRESS = ("--proxies", "127.0.0.1", "--sessions-per-address", "1")


async def test_clients_are_told_apart_and_cannot_make_up_an_address(tmp_path: Path):
    async with (
        node(*FAKE, *ONE_AN_ADDRESS) as a,
        node(*FAKE, *ONE_AN_ADDRESS) as b,
        haproxy(tmp_path, a, b) as proxy,
    ):
        await assert_addresses_are_told_apart(proxy)


async def ask(proxy: Proxy, path: str) -> tuple[int, dict[str, str]]:
    """Status and headers of an answer, by lower-case name."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port, ssl=proxy.trust)
    lines = (f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{proxy.port}", "Connection: close")
    writer.write("\r\n".join([*lines, "", ""]).encode())
    status, *found = (await reader.read()).partition(b"\r\n\r\n")[0].decode().split("\r\n")
    writer.close()
    return int(status.split()[1]), {name.lower(): value for name, value in (line.split(": ", 1) for line in found)}


async def test_what_is_the_operators_is_not_shown_through_it_and_pages_keep_their_headers(tmp_path: Path):
    async with node(*FAKE) as a, node(*FAKE) as b, haproxy(tmp_path, a, b) as proxy:
        assert (await ask(proxy, "/metrics"))[0] == 403
        status, headers = await ask(proxy, "/")
        assert status == 200
        assert headers["strict-transport-security"] == "max-age=31536000"
        assert "microphone=(self)" in headers["permissions-policy"]
        assert "server" not in headers


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")
async def test_no_old_tls_is_spoken_to_it(tmp_path: Path):
    async with node(*FAKE) as a, node(*FAKE) as b, haproxy(tmp_path, a, b) as proxy:
        proxy.trust.set_ciphers("DEFAULT:@SECLEVEL=0")
        proxy.trust.minimum_version = ssl.TLSVersion.TLSv1
        proxy.trust.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await ask(proxy, "/")


def test_the_configuration_as_it_stands_has_no_complaint(tmp_path: Path):
    text = (DEPLOY / "haproxy.cfg").read_text("utf-8")
    (tmp_path / "haproxy.cfg").write_text(
        text.replace(" ssl crt /etc/haproxy/voiceedge.pem alpn http/1.1", ""), "utf-8"
    )
    command = [program("haproxy"), "-c", "-f", str(tmp_path / "haproxy.cfg")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert (done.returncode, "WARNING" in done.stderr + done.stdout) == (0, False), done.stderr + done.stdout
