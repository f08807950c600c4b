import json

import pytest

from voiceedge.errors import Forbidden, Unauthorised
from voiceedge.server.api_keys import ApiKeys, hashed, make_key
from voiceedge.server.auth import Door, is_loopback, key_of
from voiceedge.server.client_secrets import ClientSecrets
from voiceedge.server.grant import ANYBODY, Grant
from voiceedge.server.issuing import Issuer
from voiceedge.server.jwks import Jwks
from voiceedge.server.tokens import Tokens

NOW = 1_800_000_000
SECRETS = ClientSecrets(None, lambda: NOW)
GRANT = Grant(tenant="shop", subject="alice", updates=({"instructions": "Be brief."},))
KEY = make_key()
ISSUER = Issuer.make()
BROWSER = ["realtime", "openai-insecure-api-key.KEY", "openai-agents-sdk.0.20.0"]


@pytest.fixture
def static(tmp_path):
    path = tmp_path / "keys.toml"
    path.write_text(f'[[key]]\nname = "shop"\nsha256 = "{hashed(KEY)}"\n', "utf-8")
    return ApiKeys(path)


@pytest.fixture
def issued():
    keys = Jwks(lambda: json.dumps({"keys": [ISSUER.public]}).encode(), "issuer")
    return Tokens(keys, issuer="i", audience="a", algorithms=("EdDSA",), clock=lambda: NOW)


def token(**more):
    return ISSUER.sign({"iss": "i", "aud": "a", "sub": "bob", "exp": NOW + 60, "nbf": NOW, **more})


def bearer(key):
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize(
    ("headers", "subprotocols", "key"),
    [
        ({"authorization": "Bearer KEY"}, [], "KEY"),
        ({"authorization": "bearer  KEY "}, [], "KEY"),
        ({"api-key": "KEY"}, [], "KEY"),
        ({}, BROWSER, "KEY"),
        ({"authorization": "Basic dTpw"}, BROWSER, "KEY"),
        ({"authorization": "Bearer KEY", "api-key": "other"}, ["openai-insecure-api-key.other"], "KEY"),
        ({}, ["realtime"], None),
        ({}, [], None),
    ],
)
def test_a_key_is_found_wherever_clients_put_it(headers, subprotocols, key):
    assert key_of(headers, subprotocols) == key


@pytest.mark.parametrize("key", [None, "any", "sk-proj-x", "", "ve_unknown", "a.b.c"])
async def test_an_open_door_takes_any_key_and_none(key):
    assert await Door(SECRETS).grant({} if key is None else bearer(key)) == ANYBODY


async def test_a_client_secret_brings_what_it_was_made_with_wherever_it_is_put(static):
    value = SECRETS.make(GRANT, 60).value
    for door in (Door(SECRETS), Door(SECRETS, api_keys=static)):
        for headers, subprotocols in (
            (bearer(value), []),
            ({"api-key": value}, []),
            ({}, ["realtime", f"openai-insecure-api-key.{value}"]),
        ):
            granted = await door.grant(headers, subprotocols)
            assert (granted.subject, granted.updates, granted.is_ephemeral) == ("alice", GRANT.updates, True)


async def test_what_only_looks_like_a_client_secret_opens_no_door_not_even_an_open_one():
    with pytest.raises(Unauthorised, match="not one of this node"):
        await Door(SECRETS).grant(bearer("ek_mine"))


async def test_keys_and_tokens_open_side_by_side(static, issued):
    door = Door(SECRETS, api_keys=static, tokens=issued)
    assert not door.is_open
    assert (await door.grant(bearer(KEY))).tenant == "shop"
    assert (await door.grant(bearer(token()))).tenant == "bob"
    assert (await door.grant({}, [f"openai-insecure-api-key.{token()}"])).tenant == "bob"


@pytest.mark.parametrize("key", ["any", "", "ve_unknown", "a.b.c", "sk-proj-x", "Bearer"])
async def test_a_closed_door_takes_no_other_key(static, issued, key):
    for door in (
        Door(SECRETS, api_keys=static),
        Door(SECRETS, tokens=issued),
        Door(SECRETS, api_keys=static, tokens=issued),
    ):
        with pytest.raises(Unauthorised):
            await door.grant(bearer(key))


async def test_without_a_key_a_closed_door_says_how_to_bring_one(static):
    with pytest.raises(Unauthorised, match="Authorization: Bearer") as refused:
        await Door(SECRETS, api_keys=static).grant({})
    assert refused.value.wire_code == "missing_api_key"


async def test_a_key_in_the_url_is_none(static):
    with pytest.raises(Unauthorised):
        await Door(SECRETS, api_keys=static).grant({"x-original-url": f"/v1/realtime?api_key={KEY}"})


@pytest.mark.parametrize(
    ("origin", "comes_in"),
    [
        ("http://localhost:3000", True),
        ("http://127.0.0.1:5173", True),
        ("http://[::1]:5173", True),
        ("http://node.local:8080", True),
        ("http://node.local", False),
        ("https://evil.example", False),
        ("http://localhost.evil.example", False),
        ("http://localhost@evil.example", False),
        ("null", False),
        ("http://[", False),
        ("", False),
    ],
)
async def test_an_open_door_is_not_open_to_the_pages_of_others(origin, comes_in):
    """Else every site could talk to the node on its visitor's machine."""
    asked = Door(SECRETS, is_local=False).grant({"origin": origin, "host": "node.local:8080"})
    if comes_in:
        assert await asked == ANYBODY
    else:
        with pytest.raises(Forbidden) as refused:
            await asked
        assert refused.value.wire_code == "origin_not_allowed"


@pytest.mark.parametrize("name", ["evil.example:8080", "node.local:8080", "192.168.1.5:8080", "[fe80::1]:8080"])
async def test_a_page_whose_name_was_pointed_at_this_machine_does_not_get_in(name):
    """DNS rebinding: its origin and the handshake's Host are the same."""
    with pytest.raises(Forbidden):
        await Door(SECRETS, is_local=True).grant({"origin": f"http://{name}", "host": name})


@pytest.mark.parametrize("name", ["localhost:8080", "127.0.0.1:8080", "127.0.0.2:8080", "[::1]:8080"])
async def test_the_page_of_a_node_that_only_this_machine_reaches_may_connect(name):
    assert await Door(SECRETS, is_local=True).grant({"origin": f"http://{name}", "host": name}) == ANYBODY


@pytest.mark.parametrize("host", ["", "localhost.evil.example", "0.0.0.0", "::", "127.0.0.1.nip.io"])
def test_what_is_not_this_machine_is_not_taken_for_it(host):
    assert not is_loopback(host)


async def test_what_an_open_node_signed_opens_no_closed_one(static, issued):
    """They may share a secret, and the open node gives an `ek_` to anybody."""
    for settings in ({}, {"instructions": "Sell."}):
        value = SECRETS.make(Grant(tenant="anybody", subject="anybody", updates=(settings,)), 60).value
        assert (await Door(SECRETS).grant(bearer(value))).is_ephemeral
        for door in (Door(SECRETS, api_keys=static), Door(SECRETS, tokens=issued)):
            with pytest.raises(Unauthorised, match="asks for no key"):
                await door.grant(bearer(value))


async def test_what_a_closed_node_signed_opens_it_even_for_somebody_called_anybody(issued):
    door = Door(SECRETS, tokens=issued)
    value = SECRETS.make(await door.grant(bearer(token(sub="anybody"))), 60).value
    assert (await door.grant(bearer(value))).subject == "anybody"


async def test_a_token_whose_id_looks_like_a_static_key_is_a_token(static, issued):
    for door in (Door(SECRETS, tokens=issued), Door(SECRETS, api_keys=static, tokens=issued)):
        granted = await door.grant(bearer(token(jti=f"key:{hashed(KEY)[::-1]}")))
        assert door.is_good(granted)


async def test_a_client_secret_ends_with_the_static_key_that_it_was_made_for(static, tmp_path):
    door = Door(SECRETS, api_keys=static)
    value = SECRETS.make(await door.grant(bearer(KEY)), 60).value
    assert (await door.grant(bearer(value))).tenant == "shop"
    (tmp_path / "keys.toml").write_text("", "utf-8")
    with pytest.raises(Unauthorised, match="not good any more"):
        await door.grant(bearer(value))


async def test_listed_pages_may_connect_and_no_others(static):
    door = Door(SECRETS, api_keys=static, origins=["https://shop.example/"])
    assert (await door.grant({**bearer(KEY), "origin": "https://SHOP.example"})).tenant == "shop"
    assert (await door.grant(bearer(KEY))).tenant == "shop"
    for origin in ("https://evil.example", "http://shop.example", "http://localhost", "null"):
        with pytest.raises(Forbidden):
            await door.grant({**bearer(KEY), "origin": origin})


async def test_a_page_of_anywhere_may_bring_a_key_where_none_are_listed(static):
    """Browsers send no bearer token by themselves."""
    door = Door(SECRETS, api_keys=static)
    assert (await door.grant({**bearer(KEY), "origin": "https://shop.example"})).tenant == "shop"
