"""Who is refused, and that nobody else notices: over real sockets, in front of a whole node."""

import asyncio
import json
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from statistics import median

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.e2e.nodes import running_node
from tests.redis_server import free_port, needs_redis, running_redis
from voiceedge.engines.fake import fake_engines
from voiceedge.server.api_keys import hashed, make_key
from voiceedge.server.bad_keys import BURST
from voiceedge.server.capacity import SUSTAINED_S
from voiceedge.server.issuing import Issuer
from voiceedge.trace import epoch_s, now

CLIENT_SECRETS = "/v1/realtime/client_secrets"


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


@asynccontextmanager
async def session(node, **headers):
    async with connect(node.url, additional_headers=headers) as socket:
        assert json.loads(await socket.recv())["type"] == "session.created"
        yield socket


async def refusal(node, **headers):
    with pytest.raises(InvalidStatus) as refused:
        await connect(node.url, additional_headers=headers)
    response = refused.value.response
    error = json.loads(response.body)["error"]
    assert error["message"]
    return response.status_code, error["code"], int(response.headers.get("Retry-After", 0))


async def answered(socket, prompt="Hello."):
    """Ask for an answer, and wait until it is over."""
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": prompt}]}
    await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
    await socket.send(json.dumps({"type": "response.create"}))
    async with asyncio.timeout(30):
        while (event := json.loads(await socket.recv()))["type"] != "response.done":
            pass
    assert event["response"]["status"] == "completed"


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def readyz(node):
    return asyncio.to_thread(get, f"{node.http}/readyz")


@pytest.fixture
def keys(tmp_path):
    """Two tenants' keys, the shop's with limits, and the file that holds them."""
    keys = {"shop": make_key(), "bank": make_key()}
    file = tmp_path / "keys.toml"
    limits = "sessions_an_hour = 2\nsessions = 2\naudio_seconds_an_hour = 3600\n"
    entries = [f'[[key]]\nname = "{name}"\nsha256 = "{hashed(key)}"\n' for name, key in keys.items()]
    file.write_text(entries[0] + limits + entries[1], "utf-8")
    return keys | {"file": file}


# ── busy ──────────────────────────────────────────────────────────────────────────────────────────────────


async def measure(node, load, begin):
    """Let the node have measured a load for long enough, in its own loop."""

    async def course():
        for tick in range(int(SUSTAINED_S * 4) + 2):
            node.admission.measured(begin + tick / 4, load, 0.001)

    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(course(), node.loop))


async def test_a_busy_node_refuses_whoever_comes_and_goes_on_with_whom_it_has():
    with running_node(fake_engines(slots=6), max_sessions=4) as node:
        async with session(node) as socket:
            await measure(node, 3.0, begin=0)
            status, code, retry_after_s = await refusal(node)
            assert (status, code, retry_after_s > 0) == (503, "overloaded", True)
            assert await readyz(node) == (503, {"status": "busy", "sessions": 1, "max_sessions": 4})
            await answered(socket)
            await measure(node, 0.3, begin=100)
            assert await readyz(node) == (200, {"status": "ready", "sessions": 1, "max_sessions": 4})
            async with session(node) as other:
                await answered(other)
        assert node.admission.refusals["busy"] == 1


IMPATIENT = (
    "from voiceedge.server import capacity; from voiceedge.session import load; from voiceedge import cli; "
    "capacity.SUSTAINED_S = 0.5; load.AVERAGED_S = 0.5; cli.main()"
)
"""The command line, but for how long a load has to last."""


@contextmanager
def serving(port, *flags):
    arguments = [sys.executable, "-c", IMPATIENT, "serve", "--port", str(port), *flags]
    node = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        node.terminate()
        node.wait(30)


async def is_ready(port):
    try:
        return (await asyncio.to_thread(get, f"http://127.0.0.1:{port}/readyz"))[0] == 200
    except OSError:
        return False


async def until_ready(port):
    while not await is_ready(port):  # noqa: ASYNC110 - another process tells nobody
        await asyncio.sleep(0.05)


async def test_a_node_from_the_command_line_measures_itself():
    port = free_port()
    with serving(port, "--engines", "fake:llm+400", "--busy-load", "0.25"):
        async with asyncio.timeout(60):
            await until_ready(port)
            async with connect(f"ws://127.0.0.1:{port}/v1/realtime") as socket:
                while await is_ready(port):
                    await answered(socket)
                await until_ready(port)


async def test_a_full_node_is_ready_and_a_place_is_there_again_when_its_socket_is_gone():
    with running_node(fake_engines(slots=6), max_sessions=2) as node:
        async with session(node), session(node):
            assert (await refusal(node))[:2] == (503, "overloaded")
            assert await readyz(node) == (200, {"status": "ready", "sessions": 2, "max_sessions": 2})


async def test_of_many_that_come_at_the_same_moment_as_many_get_in_as_there_are_places():
    with running_node(fake_engines(slots=6), max_sessions=3) as node:
        async with AsyncExitStack() as stack:

            async def knock():
                try:
                    await stack.enter_async_context(connect(node.url))
                except InvalidStatus as refused:
                    return refused.response.status_code
                return 101

            came = await asyncio.gather(*(knock() for _ in range(20)))
            assert sorted(came) == [101] * 3 + [503] * 17
            assert node.admission.refusals["full"] == 17


# ── addresses ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_behind_a_named_proxy_each_client_has_its_own_limit():
    with running_node(fake_engines(slots=6), max_sessions=4, sessions_per_address=1, proxies="127.0.0.1") as node:
        one, other = {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "9.9.9.9, 192.0.2.2"}
        async with session(node, **one), session(node, **other):
            for taken in (one, other, {"X-Forwarded-For": "9.9.9.8, 192.0.2.2"}):
                status, code, retry_after_s = await refusal(node, **taken)
                assert (status, code, retry_after_s > 0) == (429, "address_limit_reached", True)
            async with session(node, **{"X-Forwarded-For": "2001:db8:1:2::1"}):
                assert (await refusal(node, **{"X-Forwarded-For": "2001:db8:1:2::ffff"}))[0] == 429


async def test_without_one_nobody_gets_more_by_saying_that_they_are_somebody_else():
    with running_node(fake_engines(slots=6), max_sessions=4, sessions_per_address=1) as node:
        async with session(node, **{"X-Forwarded-For": "192.0.2.1"}):
            assert (await refusal(node, **{"X-Forwarded-For": "192.0.2.2"}))[:2] == (429, "address_limit_reached")


# ── bad keys ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_flood_of_bad_tokens_is_told_to_wait_and_good_keys_get_in(keys, tmp_path):
    issuer, now_s = Issuer.make(), epoch_s()
    claims = {"iss": "i", "aud": "a", "sub": "bob", "exp": now_s + 600, "nbf": now_s}
    known, other, expired = (issuer.sign({**claims, **more}) for more in ({}, {"jti": "2"}, {"exp": now_s - 600}))
    tokens = {"auth_keys": str(issuer.save(tmp_path)[1]), "auth_issuer": "i", "auth_audience": "a"}
    here = {"X-Forwarded-For": "192.0.2.1"}
    with running_node(
        fake_engines(slots=6), max_sessions=2, api_keys=keys["file"], proxies="127.0.0.1", **tokens
    ) as node:
        async with session(node, **here, **bearer(known)):
            pass
        answers = [await refusal(node, **here, **bearer(expired)) for _ in range(BURST + 6)]
        assert answers[0][:2] == (401, "token_expired")
        status, code, retry_after_s = answers[-1]
        assert (status, code, retry_after_s > 0) == (429, "too_many_bad_keys", True)
        assert node.admission.refusals["bad_keys"] > 0
        status, told = await asyncio.to_thread(post, node.http + CLIENT_SECRETS, here | bearer(other))
        assert (status, told["error"]["code"]) == (429, "too_many_bad_keys")
        for good in (keys["shop"], known):
            async with session(node, **here, **bearer(good)) as socket:
                await answered(socket)
        assert (await refusal(node, **here, **bearer("ve_guess")))[0] == 401
        async with session(node, **{"X-Forwarded-For": "192.0.2.2"}, **bearer(other)):
            pass


def post(url, headers):
    request = urllib.request.Request(url, b"{}", headers, method="POST")
    return get(request)


# ── quotas ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_tenant_whose_hour_is_used_up_is_told_so_and_others_never_notice(keys):
    with running_node(fake_engines(slots=6), max_sessions=4, api_keys=keys["file"]) as node:
        for _ in range(2):
            async with session(node, **bearer(keys["shop"])):
                pass
        status, code, retry_after_s = await refusal(node, **bearer(keys["shop"]))
        assert (status, code, 0 < retry_after_s <= 7200) == (429, "quota_exceeded", True)
        assert node.admission.refusals["quota"] == 1
        async with session(node, **bearer(keys["bank"])) as socket:
            await answered(socket)


async def test_a_client_secret_uses_the_hour_of_whoever_asked_for_it(keys):
    with running_node(fake_engines(slots=6), max_sessions=4, api_keys=keys["file"]) as node:
        _, made = await asyncio.to_thread(post, node.http + CLIENT_SECRETS, bearer(keys["shop"]))
        async with session(node, **bearer(made["value"])), session(node, **bearer(keys["shop"])):
            assert (await refusal(node, **bearer(made["value"])))[1] == "session_limit_reached"
        assert (await refusal(node, **bearer(made["value"])))[1] == "quota_exceeded"


async def seconds_of_answers(socket, count=5):
    """How long some answers took, one after the other, the middle one's seconds."""
    took = []
    for _ in range(count):
        begun = now()
        await answered(socket)
        took.append(now() - begun)
    return median(took)


async def test_a_tenant_at_its_limit_that_knocks_on_and_on_slows_nobody(keys):
    with running_node(fake_engines(slots=6), max_sessions=4, api_keys=keys["file"]) as node:
        async with session(node, **bearer(keys["bank"])) as socket:
            for _ in range(2):
                async with session(node, **bearer(keys["shop"])):
                    pass
            undisturbed_s = await seconds_of_answers(socket)
            stop = asyncio.Event()

            async def knock():
                while not stop.is_set():
                    assert (await refusal(node, **bearer(keys["shop"])))[0] == 429
                    await asyncio.sleep(0.01)  # client and node share an interpreter here: its own work must leave room

            knocking = asyncio.create_task(knock())
            disturbed_s = await seconds_of_answers(socket)
            stop.set()
            await knocking
        assert node.admission.refusals["quota"] >= 5
        assert disturbed_s < 1.5 * undisturbed_s + 0.1
        assert {turn.status for turn in node.turns} == {"completed"}


@needs_redis
async def test_two_nodes_share_what_a_tenant_may_use(keys, tmp_path):
    with running_redis(tmp_path) as redis:
        settings = {"max_sessions": 4, "api_keys": keys["file"], "limits_store": redis.store}
        with (
            running_node(fake_engines(slots=6), **settings) as one,
            running_node(fake_engines(slots=6), **settings) as two,
        ):
            for node in (one, two):
                async with session(node, **bearer(keys["shop"])):
                    pass
            for node in (one, two):
                assert (await refusal(node, **bearer(keys["shop"])))[:2] == (429, "quota_exceeded")
                async with session(node, **bearer(keys["bank"])) as socket:
                    await answered(socket)


@needs_redis
async def test_a_redis_that_answers_nothing_costs_nobody_their_session(keys, tmp_path):
    with running_redis(tmp_path) as redis:
        settings = {"api_keys": keys["file"], "limits_store": redis.store, "messages_an_hour": 1000}
        with running_node(fake_engines(slots=6), **settings) as node:
            async with session(node, **bearer(keys["bank"])) as socket:
                with redis.frozen():
                    async with asyncio.timeout(10), session(node, **bearer(keys["shop"])) as other:
                        await answered(other)
                    await answered(socket)
