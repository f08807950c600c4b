import base64

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from voiceedge.server.address import read_proxies
from voiceedge.server.admin import Admin
from voiceedge.server.bad_keys import BURST, PER_S

KEY = "a key of sixteen ümlauts: and a colon"
SECRETS = "what only the operator may see"


async def ask(admin, headers=None, client="127.0.0.1"):
    async def endpoint(_):
        return PlainTextResponse(SECRETS)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/metrics",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        "client": None if client is None else (client, 4711),
    }
    response = await admin.guard(endpoint)(Request(scope))
    assert (response.body == SECRETS.encode()) == (response.status_code == 200)
    return response


def basic(name, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


# ── without a key ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("client", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
async def test_without_a_key_the_nodes_own_machine_is_shown_everything(client):
    assert (await ask(Admin(None), client=client)).status_code == 200


@pytest.mark.parametrize(
    "client", ["10.0.0.1", "192.0.2.1", "::ffff:192.0.2.1", "fe80::1%eth0", "2001:db8::1", "localhost", "", None]
)
async def test_without_a_key_nobody_else_is(client):
    refused = await ask(Admin(None), client=client)
    assert refused.status_code == 403
    assert b"set admin_key" in refused.body


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Real-IP", "Via"]
)
@pytest.mark.parametrize("client", ["127.0.0.1", "::1"])
async def test_a_proxy_on_the_nodes_own_machine_does_not_let_the_world_in(header, client):
    assert (await ask(Admin(None), {header: "127.0.0.1"}, client)).status_code == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST"])
async def test_the_nodes_own_machine_may_call_itself_by_its_names(host):
    assert (await ask(Admin(None), {"Host": host})).status_code == 200


@pytest.mark.parametrize("host", ["rebound.example:8080", "192.0.2.1", "localhost.example", "[", ""])
async def test_a_page_elsewhere_that_points_its_name_here_learns_nothing(host):
    assert (await ask(Admin(None), {"Host": host})).status_code == 403


async def test_without_a_key_none_opens_anything():
    assert (await ask(Admin(None), basic("", ""), "192.0.2.1")).status_code == 403


@pytest.mark.parametrize("headers", [{}, {"X-Forwarded-For": "127.0.0.1"}])
async def test_a_proxy_that_is_named_is_not_the_nodes_own_machine_even_if_it_says_nothing(headers):
    admin = Admin(None, read_proxies("127.0.0.1"))
    assert (await ask(admin, headers, "127.0.0.1")).status_code == 403
    assert (await ask(admin, {}, "::1")).status_code == 200


# ── with a key ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer  {KEY} "},
        basic("operator", KEY),
        basic("", KEY),
        {**basic("operator", KEY), "X-Forwarded-For": "192.0.2.1"},
    ],
)
@pytest.mark.parametrize("client", ["192.0.2.1", "127.0.0.1"])
async def test_the_key_opens_it_from_everywhere(headers, client):
    assert (await ask(Admin(KEY), headers, client)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {KEY}x"},
        {"Authorization": f"Bearer {KEY[:-1]}"},
        {"Authorization": KEY},
        {"Authorization": f"Digest {KEY}"},
        {"api-key": KEY},
        basic(KEY, ""),
        basic(KEY, "wrong"),
        basic("operator", KEY.upper()),
        {"Authorization": "Basic"},
        {"Authorization": "Basic ?"},
        {"Authorization": "Basic bm8gY29sb24="},
        {"Authorization": "Basic ümlaut"},
    ],
)
async def test_a_wrong_key_opens_nothing_and_a_browser_asks_for_another(headers):
    refused = await ask(Admin(KEY), headers, "127.0.0.1")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith('Basic realm="')
    assert refused.headers["cache-control"] == "no-store"
    assert KEY.encode() not in refused.body


async def guessed(admin, headers=None, client="192.0.2.1", tries=BURST + 2):
    return [(await ask(admin, basic("", f"guess {n}") | (headers or {}), client)).status_code for n in range(tries)][-1]


async def test_who_guesses_has_to_wait_whatever_they_bring_and_nobody_else_has():
    moment = [0.0]
    admin = Admin(KEY, clock=lambda: moment[0])
    assert await guessed(admin) == 429
    refused = await ask(admin, basic("", KEY), "192.0.2.1")
    assert (refused.status_code, 1 <= int(refused.headers["retry-after"]) <= 1 / PER_S) == (429, True)
    assert b"too_many_bad_keys" in refused.body
    assert (await ask(admin, basic("", KEY), "192.0.2.2")).status_code == 200
    assert (await ask(admin, {}, "192.0.2.1")).status_code == 401
    moment[0] += int(refused.headers["retry-after"])
    assert (await ask(admin, basic("", KEY), "192.0.2.1")).status_code == 200


async def test_behind_a_named_proxy_who_guesses_is_told_apart_from_the_operator():
    admin = Admin(KEY, read_proxies("10.0.0.1"), clock=lambda: 0.0)
    assert await guessed(admin, {"X-Forwarded-For": "192.0.2.1"}, "10.0.0.1") == 429
    assert (await ask(admin, basic("", KEY) | {"X-Forwarded-For": "192.0.2.2"}, "10.0.0.1")).status_code == 200


async def test_browsers_that_ask_without_a_key_first_never_have_to_wait():
    admin = Admin(KEY, clock=lambda: 0.0)
    for _ in range(2 * BURST):
        assert (await ask(admin, {}, "192.0.2.1")).status_code == 401
    assert (await ask(admin, basic("", KEY), "192.0.2.1")).status_code == 200
