import json

import jwt
import pytest

from voiceedge.config import Config
from voiceedge.errors import ConfigError, Unauthorised
from voiceedge.server.doors import check_reach, make_door
from voiceedge.server.issuing import Issuer
from voiceedge.trace import epoch_s

TOKENS = {"auth_issuer": "i", "auth_audience": "a"}


@pytest.fixture
def keys(tmp_path):
    issuer = Issuer.make()
    path = tmp_path / "issuer.jwks.json"
    path.write_text(json.dumps({"keys": [issuer.public]}), "utf-8")
    return issuer, str(path)


def claims():
    return {"iss": "i", "aud": "a", "sub": "bob", "exp": epoch_s() + 60, "nbf": epoch_s()}


def test_without_settings_the_door_is_open():
    assert make_door(Config()).is_open


async def test_settings_for_tokens_close_it(keys):
    issuer, path = keys
    door = make_door(Config(auth_keys=path, **TOKENS))
    assert (await door.grant({"authorization": f"Bearer {issuer.sign(claims())}"})).tenant == "bob"
    with pytest.raises(Unauthorised):
        await door.grant({})


async def test_a_shared_secret_is_an_explicit_choice():
    secret = "s" * 32
    door = make_door(Config(auth_secret=secret, auth_algorithms="HS256", **TOKENS))
    assert (await door.grant({"authorization": f"Bearer {jwt.encode(claims(), secret, 'HS256')}"})).tenant == "bob"


def test_a_file_of_keys_closes_it(tmp_path):
    path = tmp_path / "keys.toml"
    path.write_text("", "utf-8")
    assert not make_door(Config(api_keys=path)).is_open


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"auth_keys": "k.json"}, "without auth_issuer and auth_audience"),
        ({"auth_issuer": "i"}, "without auth_keys and auth_audience"),
        ({"auth_secret": "s" * 32, **TOKENS}, "'auth_secret' does not go"),
        ({"auth_keys": "k.json", "auth_algorithms": "HS256", **TOKENS}, "'auth_keys' does not go"),
        ({"auth_algorithms": "HS256,RS256", **TOKENS}, "HS256 alone"),
        ({"auth_algorithms": "", **TOKENS}, "HS256 alone"),
        ({"auth_algorithms": "none", **TOKENS}, "names none"),
        ({"auth_algorithms": "eddsa", **TOKENS}, "names eddsa"),
        ({"auth_keys": "/no/such/file", **TOKENS}, "no key set"),
        ({"auth_keys": "http://issuer.example/keys", **TOKENS}, "use https"),
    ],
)
def test_settings_that_do_not_fit_are_refused_at_the_start(settings, complaint):
    with pytest.raises(ConfigError, match=complaint):
        make_door(Config(**settings))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1.2.3"])
def test_an_open_door_may_be_on_loopback(host):
    check_reach(host, make_door(Config()), is_meant=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "node.example"])
def test_an_open_door_elsewhere_has_to_be_meant(host, tmp_path):
    with pytest.raises(ConfigError, match="--open-to-all"):
        check_reach(host, make_door(Config()), is_meant=False)
    check_reach(host, make_door(Config()), is_meant=True)
    path = tmp_path / "keys.toml"
    path.write_text("", "utf-8")
    check_reach(host, make_door(Config(api_keys=path)), is_meant=False)
