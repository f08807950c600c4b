import base64

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from voiceedge.server.admin import Admin

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
