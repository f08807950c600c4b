import base64
import json
import zlib
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from voiceedge.errors import InvalidRequest, Unauthorised
from voiceedge.server.client_secrets import MAX_VALUE_BYTES, PREFIX, ClientSecrets
from voiceedge.server.grant import Grant

KEY = "a secret of more than thirty-two bytes"
NOW = 1_800_000_000
SESSION = {"type": "realtime", "instructions": "Be brief."}
GRANT = Grant(tenant="shop", subject="alice", sessions=2, updates=(SESSION,))
CLAIMS = {
    "aud": "voiceedge.client_secret",
    "iat": NOW,
    "exp": NOW + 60,
    "grant": {"tenant": "shop", "subject": "alice", "updates": [SESSION]},
}


def node(secret=KEY, now=NOW):
    return ClientSecrets(secret, lambda: now)


def signed(claims, *, key=KEY, algorithm="HS256", **headers):
    """A token as `ClientSecrets` writes it, but for what is given."""
    payload = zlib.compress(json.dumps(claims).encode(), wbits=-15)
    return PREFIX + jwt.PyJWS().encode(payload, key, algorithm, headers=headers)


def refused(value, secrets=None):
    with pytest.raises(Unauthorised) as raised:
        (secrets or node()).grant(value)
    assert KEY not in str(raised.value)
    return raised.value.wire_code


texts = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["instructions", "tools", "audio", "ä"]), json_values), st.integers(10, 7200))
def test_settings_survive_the_round_trip_on_every_node_with_the_same_secret(session, lifetime_s):
    secret = node().make(replace(GRANT, updates=(session,)), lifetime_s)
    assert secret.expires_at == NOW + lifetime_s
    assert node().grant(secret.value) == replace(GRANT, updates=(session,), is_ephemeral=True)


def test_the_value_fits_a_header_and_a_subprotocol():
    value = node().make(GRANT, 60).value
    assert value.startswith("ek_")
    assert set(value) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def test_it_is_good_until_the_second_it_ends_and_not_in_it():
    value = node().make(GRANT, 60).value
    assert node(now=NOW + 59).grant(value).updates == (SESSION,)
    assert refused(value, node(now=NOW + 60)) == "token_expired"


@pytest.mark.parametrize(("lifetime_s", "expires_at"), [(7200, NOW + 600), (60, NOW + 60)])
def test_it_does_not_outlive_what_it_was_made_for(lifetime_s, expires_at):
    secret = node().make(replace(GRANT, ends_at=NOW + 600), lifetime_s)
    assert secret.expires_at == expires_at
    assert node(now=expires_at - 1).grant(secret.value).ends_at == NOW + 600
    assert refused(secret.value, node(now=expires_at)) == "token_expired"


def test_it_hands_on_every_limit_of_whoever_asked():
    limits = {"sessions": 2, "seconds": 60, "sessions_an_hour": 5, "audio_seconds_an_hour": 600, "bytes_an_hour": 10**9}
    value = node().make(Grant(tenant="shop", subject="alice", **limits), 60).value
    assert node().grant(value).limits() == limits


def test_it_says_which_static_key_it_was_made_for():
    assert node().grant(node().make(replace(GRANT, key_hash="0" * 64), 60).value).key_hash == "0" * 64


def test_another_nodes_secret_is_refused():
    value = node().make(GRANT, 60).value
    assert refused(value, node("another secret of thirty-two bytes")) == "invalid_api_key"


def test_without_a_secret_each_node_makes_its_own():
    first, second = node(None), node(None)
    value = first.make(GRANT, 60).value
    assert first.grant(value).updates == (SESSION,)
    assert refused(value, second) == "invalid_api_key"


@given(st.data())
def test_whatever_is_changed_is_refused(data):
    value = node().make(GRANT, 60).value
    at = data.draw(st.integers(0, len(value)), label="at")
    gone = data.draw(st.integers(0, 3), label="gone")
    new = data.draw(st.text(st.characters(codec="ascii"), max_size=3) | st.sampled_from(["=", "==", ".", "\n"]))
    changed = value[:at] + new + value[at + gone :]
    assume(changed != value)
    assert refused(changed) == "invalid_api_key"


@given(st.text())
def test_no_text_is_a_secret(text):
    assert refused(PREFIX + text) == "invalid_api_key"


def test_a_token_that_is_signed_with_nothing_is_refused():
    assert refused(signed(CLAIMS, key="", algorithm="none")) == "invalid_api_key"
    unsigned = signed(CLAIMS, key="", algorithm="none")
    assert refused(f"{unsigned}{signed(CLAIMS).rpartition('.')[2]}") == "invalid_api_key"


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
@pytest.mark.filterwarnings("ignore:The HMAC key is")
def test_no_other_hash_is_taken_even_with_the_right_key(algorithm):
    assert refused(signed(CLAIMS, algorithm=algorithm)) == "invalid_api_key"


def test_no_public_key_is_taken_for_a_secret():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    value = signed(CLAIMS, key=key, algorithm="RS256")
    assert refused(value) == "invalid_api_key"
    assert refused(value, node(public.decode())) == "invalid_api_key"


@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_has_to_be_there(name):
    assert node().grant(signed(CLAIMS)).updates == (SESSION,)
    assert refused(signed({key: value for key, value in CLAIMS.items() if key != name})) == "invalid_api_key"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("aud", "something.else"),
        ("aud", ["voiceedge.client_secret"]),
        ("exp", "9999999999"),
        ("exp", None),
        ("grant", []),
    ],
)
def test_a_claim_of_another_kind_is_refused(name, value):
    assert refused(signed({**CLAIMS, name: value})) == "invalid_api_key"


def test_a_payload_that_is_not_deflated_json_is_refused():
    def with_payload(payload):
        return PREFIX + jwt.PyJWS().encode(payload, KEY, "HS256")

    assert refused(with_payload(json.dumps(CLAIMS).encode())) == "invalid_api_key"
    assert refused(with_payload(zlib.compress(b"\xff\xff", wbits=-15))) == "invalid_api_key"


def test_what_does_not_fit_a_header_is_refused_when_it_is_made():
    noise = base64.b64encode(bytes(range(256)) * 30).decode()
    short = node().make(replace(GRANT, updates=({"instructions": noise},)), 60)  # repeats itself: it deflates well
    assert len(short.value) < MAX_VALUE_BYTES
    letters = "".join(chr(33 + (index * index * 7919) % 8191 % 90) for index in range(16_000))
    with pytest.raises(InvalidRequest, match=r"too long.*session\.update") as raised:
        node().make(replace(GRANT, updates=({"instructions": letters},)), 60)
    assert (raised.value.wire_code, raised.value.param) == ("session_too_long", "session")


def test_what_does_not_fit_a_header_is_not_even_looked_at():
    long = signed({**CLAIMS, "more": [hash((n, n)) for n in range(2000)]})
    assert len(long) > MAX_VALUE_BYTES
    assert refused(long) == "invalid_api_key"


def test_ten_thousand_letters_of_prose_fit():
    prose = (Path(__file__).parents[2] / "LICENSE").read_text(encoding="utf-8")[:10_000]
    assert len(node().make(replace(GRANT, updates=({"instructions": prose},)), 60).value) < MAX_VALUE_BYTES
