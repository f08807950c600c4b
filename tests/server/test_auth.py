import json

import pytest

from voiceedge.errors import Forbidden, LimitReached, Unauthorised
from voiceedge.server.api_keys import ApiKeys, hashed, make_key
from voiceedge.server.auth import Door, key_of
from voiceedge.server.bad_keys import BURST, PER_S
from voiceedge.server.client_secrets import ClientSecrets
from voiceedge.server.grant import ANYBODY, Grant
from voiceedge.server.issuing import Issuer
from voiceedge.server.jwks import Jwks
from voiceedge.server.revoked import Revoked
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


# ── who brings bad keys one after another ─────────────────────────────────────────────────────────────────

HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"


async def refused_at(door, key, address=HERE):
    with pytest.raises((Unauthorised, LimitReached)) as refused:
        await door.grant(bearer(key), address=address)
    return refused.value


FORGED = f"{token().rpartition('.')[0]}.{Issuer.make().sign({}).rpartition('.')[2]}"
"""Says that the issuer's key has signed it."""


async def flood(door, key=None):
    """Bring bad keys until one is answered with 429."""
    for _ in range(BURST + 2):
        error = await refused_at(door, FORGED if key is None else key)
        if isinstance(error, LimitReached):
            return error
    raise AssertionError("nobody was told to wait")


@pytest.mark.parametrize("claims", [None, {"exp": NOW - 60}, {"aud": "b"}], ids=["forged", "expired", "elsewhere"])
async def test_an_address_with_bad_tokens_one_after_another_is_told_to_wait(static, issued, claims):
    door = Door(SECRETS, api_keys=static, tokens=issued, clock=lambda: 0.0)
    told = await flood(door, FORGED if claims is None else token(**claims))
    assert (told.wire_code, 1 <= told.retry_after_s <= 1 / PER_S) == ("too_many_bad_keys", True)


UNKNOWN_ID = Issuer.make().sign({"sub": "bob"})


@pytest.mark.parametrize("key", ["a.b.c", "ve_unknown", "ek_a.b.c", "sk-proj-x", UNKNOWN_ID, FORGED + "x" * 7 * 1024])
async def test_what_is_seen_to_be_bad_without_a_signature_being_checked_makes_nobody_wait(static, issued, key):
    door = Door(SECRETS, api_keys=static, tokens=issued, clock=lambda: 0.0)
    for _ in range(3 * BURST):
        assert isinstance(await refused_at(door, key), Unauthorised)
    assert (await door.grant(bearer(token()), address=HERE)).subject == "bob"


async def test_a_token_that_was_good_before_gets_in_again_beside_somebody_who_floods(issued):
    door = Door(SECRETS, tokens=issued, clock=lambda: 0.0)
    known = token()
    await door.grant(bearer(known), address=ELSEWHERE)
    await flood(door)
    for _ in range(2):
        assert (await door.grant(bearer(known), address=HERE)).subject == "bob"
    assert (await refused_at(door, token(jti="new"))).wire_code == "too_many_bad_keys"


async def test_a_token_that_was_good_before_is_judged_each_time(issued, tmp_path):
    path = tmp_path / "revoked.txt"
    path.write_text("", "utf-8")
    door = Door(SECRETS, tokens=issued, revoked=Revoked(path), clock=lambda: 0.0)
    known = token()
    await door.grant(bearer(known), address=HERE)
    await flood(door)
    path.write_text("bob\n", "utf-8")
    assert (await refused_at(door, known)).wire_code == "token_revoked"
    assert (await refused_at(door, known)).wire_code == "too_many_bad_keys"


async def test_one_whose_time_is_over_is_known_no_more():
    moment = [NOW]
    keys = Jwks(lambda: json.dumps({"keys": [ISSUER.public]}).encode(), "issuer")
    issued = Tokens(keys, issuer="i", audience="a", algorithms=("EdDSA",), clock=lambda: moment[0])
    door, known = Door(SECRETS, tokens=issued, clock=lambda: 0.0), token()
    await door.grant(bearer(known), address=HERE)
    await flood(door)
    moment[0] += 3600
    assert (await refused_at(door, known)).wire_code == "token_expired"
    assert (await refused_at(door, known)).wire_code == "too_many_bad_keys"


async def test_its_tokens_are_not_looked_at_any_more_and_nobody_elses_suffer(static, issued, monkeypatch):
    door, looked_at = Door(SECRETS, api_keys=static, tokens=issued, clock=lambda: 0.0), []
    await flood(door)
    good, real = token(), issued.grant

    async def grant(key):
        looked_at.append(key)
        return await real(key)

    monkeypatch.setattr(issued, "grant", grant)
    assert (await refused_at(door, good)).wire_code == "too_many_bad_keys"
    assert looked_at == []
    assert (await door.grant(bearer(good), address=ELSEWHERE)).subject == "bob"


async def test_a_good_static_key_or_client_secret_gets_in_beside_somebody_who_floods(static, issued):
    door = Door(SECRETS, api_keys=static, tokens=issued, clock=lambda: 0.0)
    await flood(door)
    assert (await door.grant(bearer(KEY), address=HERE)).subject == "shop"
    assert (await door.grant(bearer(SECRETS.make(GRANT, 60).value), address=HERE)).subject == "alice"
    assert (await refused_at(door, "ve_unknown")).wire_code == "invalid_api_key"


async def test_who_waits_as_told_is_looked_at_again(issued):
    moment = [0.0]
    door = Door(SECRETS, tokens=issued, clock=lambda: moment[0])
    moment[0] += (await flood(door)).retry_after_s
    assert (await door.grant(bearer(token()), address=HERE)).subject == "bob"


async def test_good_keys_and_no_key_never_add_up(static, issued):
    door = Door(SECRETS, api_keys=static, tokens=issued, clock=lambda: 0.0)
    for _ in range(2 * BURST):
        await door.grant(bearer(token()), address=HERE)
        with pytest.raises(Unauthorised, match="A key is needed"):
            await door.grant({}, address=HERE)
    assert (await refused_at(door, "a.b.c")).wire_code == "invalid_api_key"


async def test_a_revoked_key_counts_as_a_bad_one(issued, tmp_path):
    path = tmp_path / "revoked.txt"
    path.write_text("bob\n", "utf-8")
    door = Door(SECRETS, tokens=issued, revoked=Revoked(path), clock=lambda: 0.0)
    assert (await flood(door, token())).wire_code == "too_many_bad_keys"


async def test_on_an_open_node_any_key_is_good_but_a_forged_secret_and_nobody_waits():
    door = Door(SECRETS, clock=lambda: 0.0)
    for _ in range(2 * BURST):
        assert isinstance(await refused_at(door, "ek_a.b.c"), Unauthorised)
    for key in ("any", "a.b.c", "ve_x", SECRETS.make(ANYBODY, 60).value):
        assert (await door.grant(bearer(key), address=HERE)).tenant == "anybody"
