import pytest

from voiceedge.server.auth import Identity, identify, key_of
from voiceedge.server.client_secrets import ClientSecrets, Unauthorised

SECRETS = ClientSecrets(None, lambda: 1_800_000_000)
SESSION = {"instructions": "Be brief."}
GUEST = Identity(session={}, is_ephemeral=False)
BROWSER = ["realtime", "openai-insecure-api-key.KEY", "openai-agents-sdk.0.20.0"]


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


@pytest.mark.parametrize("key", [None, "any", "sk-proj-x", ""])
def test_every_other_key_is_taken_as_it_is(key):
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    assert identify(headers, [], SECRETS) == GUEST


def test_a_good_client_secret_brings_its_settings():
    value = SECRETS.make(SESSION, 60).value
    wanted = Identity(session=SESSION, is_ephemeral=True)
    assert identify({"authorization": f"Bearer {value}"}, [], SECRETS) == wanted
    assert identify({"api-key": value}, [], SECRETS) == wanted
    assert identify({}, ["realtime", f"openai-insecure-api-key.{value}"], SECRETS) == wanted


def test_what_only_looks_like_a_client_secret_is_not_a_key():
    with pytest.raises(Unauthorised, match="not one of this node"):
        identify({"authorization": "Bearer ek_mine"}, [], SECRETS)
