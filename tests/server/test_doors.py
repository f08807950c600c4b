import json

import jwt
import pytest

from voiceedge.config import Config, load_config
from voiceedge.errors import ConfigError, Forbidden, Unauthorised
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
        ({"auth_algorithms": "HS256"}, "without auth_secret and auth_issuer and auth_audience"),
        ({"auth_algorithms": "RS256"}, "without auth_keys and auth_issuer and auth_audience"),
        ({"auth_keys": "", "auth_issuer": "", "auth_audience": ""}, "without auth_keys and auth_issuer"),
        ({"origins": "shop.example"}, "'shop.example'"),
        ({"origins": "*"}, r"'\*'"),
        ({"origins": "null"}, "'null'"),
        ({"origins": "https://shop.example/app"}, "/app'"),
        ({"origins": "https://*.shop.example"}, r"\*"),
        ({"origins": "https://shop.example?"}, "which no page comes from"),
        ({"origins": "https://me@shop.example"}, "which no page comes from"),
        ({"origins": "https://shop.example:"}, "which no page comes from"),
        ({"origins": "https://bücher.example"}, "xn--"),
        ({"origins": "https://shop.example:443"}, "443"),
        ({"origins": "https://good.example,http://shop.example:80"}, "http://shop"),
        ({"origins": ","}, "names none"),
        ({"origins": " "}, "names none"),
        ({"auth_algorithms": "none", **TOKENS}, "names none"),
        ({"auth_algorithms": "eddsa", **TOKENS}, "names eddsa"),
        ({"auth_keys": "/no/such/file", **TOKENS}, "no key set"),
        ({"auth_keys": "http://issuer.example/keys", **TOKENS}, "use https"),
    ],
)
def test_settings_that_do_not_fit_are_refused_at_the_start(settings, complaint):
    with pytest.raises(ConfigError, match=complaint):
        make_door(Config(**settings))


@pytest.mark.parametrize("name", ["auth_keys", "auth_issuer", "auth_audience"])
def test_an_empty_setting_for_tokens_does_not_leave_the_door_open(name, tmp_path):
    file = tmp_path / "node.toml"
    file.write_text(f'{name} = ""\n', "utf-8")
    for settings in (lambda: load_config({name: ""}, environment={}), lambda: load_config({}, file, environment={})):
        with pytest.raises(ConfigError, match=name):
            settings()


def test_an_empty_variable_is_how_compose_files_say_that_nothing_was_given():
    empty = dict.fromkeys(("VOICEEDGE_AUTH_KEYS", "VOICEEDGE_AUTH_ISSUER", "VOICEEDGE_AUTH_AUDIENCE"), "")
    assert make_door(load_config({}, environment={**empty, "VOICEEDGE_ORIGINS": ""})).is_open


@pytest.mark.parametrize(
    ("stated", "origin"),
    [
        ("https://shop.example", "https://shop.example"),
        ("https://other.example, https://SHOP.example:8443/", "https://shop.example:8443"),
        ("http://192.168.1.5:3000", "http://192.168.1.5:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("capacitor://localhost", "capacitor://localhost"),
    ],
)
async def test_origins_as_browsers_spell_them_are_taken(stated, origin):
    door = make_door(Config(origins=stated))
    await door.grant({"origin": origin})
    with pytest.raises(Forbidden):
        await door.grant({"origin": "https://evil.example"})


@pytest.mark.parametrize(("host", "comes_in"), [("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True)])
async def test_a_page_with_the_nodes_name_counts_as_its_own_only_where_others_reach_it(host, comes_in):
    asked = make_door(Config(host=host)).grant({"origin": "http://node.example:8080", "host": "node.example:8080"})
    if comes_in:
        await asked
    else:
        with pytest.raises(Forbidden):
            await asked


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
