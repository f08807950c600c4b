import asyncio
import json
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from voiceedge.errors import ConfigError, KeysUnavailable, Unauthorised
from voiceedge.server import jwks
from voiceedge.server.jwks import COOLDOWN_S, FRESH_S, STALE_S, InvalidKeySet, Jwks, read_key_set, source


def key_set(*key_ids):
    return json.dumps({"keys": [public(key_id) for key_id in key_ids]}).encode()


def public(key_id):
    key = OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate().public_key(), as_dict=True)
    return {**key, "kid": key_id, "use": "sig"} if key_id else key


class Issuer:
    """Hands out key sets, counts how often it is asked, and can be out of reach."""

    def __init__(self, *key_ids):
        self.key_ids = key_ids
        self.asked = 0
        self.away = False

    def __call__(self):
        self.asked += 1
        if self.away:
            raise OSError("no route to host")
        return key_set(*self.key_ids)


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


async def test_a_known_key_costs_the_issuer_nothing(clock):
    issuer = Issuer("a", "b")
    keys = Jwks(issuer, "issuer", clock)
    for key_id in ("a", "b", "a"):
        assert (await keys.key(key_id)).key_id == key_id
    assert issuer.asked == 1


async def test_a_new_key_is_found_when_somebody_brings_it(clock):
    issuer = Issuer("a")
    keys = Jwks(issuer, "issuer", clock)
    await keys.key("a")
    issuer.key_ids = ("a", "new")
    clock.now += COOLDOWN_S
    assert (await keys.key("new")).key_id == "new"


async def test_invented_key_ids_do_not_flood_the_issuer(clock):
    issuer = Issuer("a")
    keys = Jwks(issuer, "issuer", clock)
    for number in range(200):
        with pytest.raises(Unauthorised):
            await keys.key(f"invented-{number}")
    assert issuer.asked == 1
    clock.now += COOLDOWN_S
    with pytest.raises(Unauthorised):
        await keys.key("invented")
    assert issuer.asked == 2


async def test_a_withdrawn_key_is_not_good_once_the_keys_are_renewed(clock):
    issuer = Issuer("a", "stolen")
    keys = Jwks(issuer, "issuer", clock)
    await keys.key("stolen")
    issuer.key_ids = ("a",)
    clock.now += FRESH_S + 1
    await keys.key("stolen")  # nobody is kept waiting: it is renewed behind this one's back
    await keys.close()
    with pytest.raises(Unauthorised):
        await keys.key("stolen")


@pytest.mark.parametrize("hours", [0.2, 20])
async def test_a_withdrawn_key_is_not_good_again_because_nobody_came_for_long(clock, hours):
    issuer = Issuer("a", "stolen")
    keys = Jwks(issuer, "issuer", clock)
    await keys.key("a")
    issuer.key_ids = ("a",)
    clock.now += hours * 3600
    with pytest.raises(Unauthorised):
        await keys.key("stolen")
    assert issuer.asked == 2


async def test_old_keys_wait_for_an_issuer_out_of_reach_once_per_cooldown_only(clock):
    issuer = Issuer("a")
    keys = Jwks(issuer, "issuer", clock)
    await keys.key("a")
    issuer.away = True
    clock.now += 2 * FRESH_S + 1
    for _ in range(20):
        assert (await keys.key("a")).key_id == "a"
    assert issuer.asked == 2
    clock.now += COOLDOWN_S
    await keys.key("a")
    assert issuer.asked == 3


async def test_old_keys_do_not_wait_for_long_for_a_slow_issuer(clock, monkeypatch):
    monkeypatch.setattr(jwks, "PATIENCE_S", 0.01)
    answered = threading.Event()
    answered.set()

    def slow():
        answered.wait(10.0)
        return key_set("a")

    keys = Jwks(slow, "issuer", clock)
    await keys.key("a")
    await keys.close()
    answered.clear()
    clock.now += 2 * FRESH_S + 1
    assert (await keys.key("a")).key_id == "a"
    answered.set()
    await keys.close()


async def test_keys_outlive_their_issuer_but_not_for_ever(clock):
    issuer = Issuer("a")
    keys = Jwks(issuer, "issuer", clock)
    await keys.key("a")
    issuer.away = True
    clock.now += STALE_S - 1
    assert (await keys.key("a")).key_id == "a"
    await keys.close()
    clock.now += COOLDOWN_S
    with pytest.raises(KeysUnavailable):
        await keys.key("a")
    issuer.away = False
    clock.now += COOLDOWN_S
    assert (await keys.key("a")).key_id == "a"


async def test_an_issuer_that_was_never_reached_is_asked_again_after_the_cooldown_only(clock):
    issuer = Issuer("a")
    issuer.away = True
    keys = Jwks(issuer, "issuer", clock)
    for _ in range(20):
        with pytest.raises(KeysUnavailable):
            await keys.key("a")
    assert issuer.asked == 1


async def test_all_who_come_at_once_wait_for_one_answer(clock):
    issuer = Issuer("a")
    keys = Jwks(issuer, "issuer", clock)
    found = await asyncio.gather(*(keys.key("a") for _ in range(50)))
    assert len(found) == 50
    assert issuer.asked == 1


async def test_a_slow_issuer_keeps_nobody_waiting_for_long(clock, monkeypatch):
    monkeypatch.setattr(jwks, "PATIENCE_S", 0.01)
    answered = threading.Event()

    def slow():
        answered.wait(10.0)
        return key_set("a")

    keys = Jwks(slow, "issuer", clock)
    with pytest.raises(KeysUnavailable):
        await keys.key("a")
    answered.set()
    await keys.close()
    assert (await keys.key("a")).key_id == "a"


async def test_a_broken_answer_leaves_the_keys_as_they_were(clock):
    answers = [key_set("a"), b"<html>"]
    keys = Jwks(lambda: answers.pop(0), "issuer", clock)
    await keys.key("a")
    clock.now += FRESH_S + 1
    await keys.key("a")
    await keys.close()
    assert (await keys.key("a")).key_id == "a"


def test_a_token_without_a_key_id_fits_a_set_of_one_key():
    assert None in read_key_set(key_set("only"))
    assert None in read_key_set(key_set(None))
    assert None not in read_key_set(key_set("a", "b"))


def test_only_public_keys_for_signatures_are_taken():
    rsa_key = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048).public_key(), as_dict=True)
    ec_key = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), as_dict=True)
    listed = [
        {**rsa_key, "kid": "rsa", "use": "sig"},
        {**ec_key, "kid": "ec"},
        {**ec_key, "kid": "for-encryption", "use": "enc"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"},
        {"kty": "unheard-of", "kid": "new"},
        "nonsense",
    ]
    found = read_key_set(json.dumps({"keys": listed}).encode())
    assert {key_id: key.algorithm_name for key_id, key in found.items()} == {"rsa": "RS256", "ec": "ES256"}


@pytest.mark.parametrize("key_id", [["x"], {"x": 1}, 7, True])
async def test_an_id_that_is_no_text_names_no_key_and_stops_nothing(key_id, clock):
    listed = {"keys": [{**public("a"), "kid": key_id}, public("b")]}
    keys = Jwks(lambda: json.dumps(listed).encode(), "issuer", clock)
    assert (await keys.key("b")).key_id == "b"
    assert read_key_set(json.dumps(listed).encode()).keys() == {"b"}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"keys": 1}',
        b'{"keys": []}',
        b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_key_set_says_so(text):
    with pytest.raises(InvalidKeySet):
        read_key_set(text)


def test_a_key_set_is_read_from_a_file(tmp_path):
    path = tmp_path / "keys.json"
    path.write_bytes(key_set("a"))
    assert read_key_set(source(str(path))()).keys() == {"a", None}


@pytest.mark.parametrize("location", ["http://issuer.example/keys", "/no/such/file", "ftp://issuer.example/keys"])
def test_keys_that_anybody_could_change_are_refused(location):
    with pytest.raises(ConfigError):
        source(location)
