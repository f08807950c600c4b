import ast
import inspect
import os
from itertools import pairwise
from pathlib import Path

import pytest

from tests.documents import settings_groups
from voiceedge.cli_serve import serve
from voiceedge.config import (
    FIELDS,
    PREFIX,
    PUBLIC_NPM_REGISTRY,
    Config,
    Supervision,
    load_config,
    npm_registry,
    supervision,
)
from voiceedge.errors import ConfigError


@pytest.fixture
def toml(tmp_path):
    """Writes a configuration file."""

    def write(text):
        path = tmp_path / "node.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def load(flags=None, file=None, **environment):
    return load_config(flags or {}, file, {f"{PREFIX}{name}": value for name, value in environment.items()})


def test_without_any_setting_the_defaults_hold():
    assert load() == Config()


def test_the_environment_wins_over_the_file_and_flags_win_over_both(toml):
    file = toml('port = 1\nhost = "file"\nprofile = "file"\n')
    found = load({"profile": "flag"}, file, HOST="variable", PROFILE="variable")
    assert (found.port, found.host, found.profile) == (1, "variable", "flag")


def test_a_flag_that_was_not_given_hides_nothing():
    assert load({"port": None, "offline": None}, PORT="7", OFFLINE="true").port == 7


def test_a_flag_that_is_false_counts():
    assert load({"offline": False}, OFFLINE="1").offline is False


def test_the_environment_may_name_the_file(toml):
    assert load(CONFIG=str(toml("port = 9"))).port == 9


def test_a_file_that_is_named_wins_over_the_one_of_the_environment(toml, tmp_path):
    assert load(file=toml("port = 9"), CONFIG=str(tmp_path / "not-there.toml")).port == 9


def test_variables_of_others_are_none_of_our_business():
    assert load_config({}, None, {"PATH": "/bin", "VOICE": "x", "port": "3"}) == Config()


def test_text_of_the_environment_is_read_as_what_it_stands_for():
    found = load(PORT="81", TEMPERATURE="0.5", OFFLINE="1", HOME="/models", TRACE_FILE="t.jsonl", LANGUAGE="de")
    assert (found.port, found.temperature, found.offline, found.language) == (81, 0.5, True, "de")
    assert (found.home, found.trace_file) == (Path("/models"), Path("t.jsonl"))


@pytest.mark.parametrize("where", ["flag", "variable", "file"])
def test_a_tilde_is_the_users_home(toml, where):
    found = {
        "flag": lambda: load({"home": Path("~/models")}),
        "variable": lambda: load(HOME="~/models"),
        "file": lambda: load(file=toml('home = "~/models"')),
    }[where]()
    assert found.home == Path.home() / "models"


def test_an_unknown_name_is_refused_wherever_it_comes_from(toml):
    file = toml("prot = 1")
    with pytest.raises(ConfigError, match=f"Unknown setting 'prot' in {file}; did you mean 'port'"):
        load(file=file)
    with pytest.raises(ConfigError, match="Unknown setting 'prot' in the environment; did you mean 'port'"):
        load(PROT="1")
    with pytest.raises(ConfigError, match="Unknown setting 'prot' on the command line; did you mean 'port'"):
        load({"prot": 1})


def test_a_name_that_is_like_none_gets_the_whole_list():
    with pytest.raises(ConfigError, match="Unknown setting 'xyzzy'") as raised:
        load(XYZZY="1")
    assert all(name in str(raised.value) for name in FIELDS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", 65_536),
        ("port", -1),
        ("port", True),
        ("port", "http"),
        ("port", 80.5),
        ("max_sessions", 0),
        ("temperature", 2.5),
        ("top_p", 0),
        ("engines", "imaginary"),
        ("log_level", "loud"),
        ("offline", "maybe"),
        ("host", 5),
        ("home", 5),
    ],
)
def test_a_value_that_does_not_fit_is_refused_and_shown(name, value):
    with pytest.raises(ConfigError, match=f"Setting '{name}' on the command line: ") as raised:
        load({name: value})
    assert f"(given: {value!r})" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("name", "least"), [("secret", 32), ("admin_key", 16)])
def test_a_secret_that_is_too_short_is_refused_and_shown_to_nobody(toml, name, least):
    for load_it in (
        lambda: load({name: "hush-hush"}),
        lambda: load(**{name.upper(): "hush-hush"}),
        lambda: load(file=toml(f'{name} = "hush-hush"')),
    ):
        with pytest.raises(ConfigError, match=rf"Setting '{name}' .*length >= {least}\.$") as raised:
            load_it()
        assert "hush" not in str(raised.value)


def test_a_value_that_does_not_fit_is_refused_with_its_place(toml):
    file = toml("port = 99999")
    with pytest.raises(ConfigError, match=f"Setting 'port' in {file}: "):
        load(file=file)
    with pytest.raises(ConfigError, match="Setting 'port' in the environment: "):
        load(PORT="99999")


def test_a_wrong_value_is_refused_even_where_a_better_one_wins():
    with pytest.raises(ConfigError, match="in the environment"):
        load({"port": 80}, PORT="eighty")


def test_a_file_that_is_not_there_or_not_toml_is_named(toml, tmp_path):
    with pytest.raises(ConfigError, match=r"not-there\.toml: No such file"):
        load(file=tmp_path / "not-there.toml")
    with pytest.raises(ConfigError, match=r"node\.toml is not valid TOML"):
        load(file=toml("port ="))
    (tmp_path / "latin.toml").write_bytes(b'host = "\xff"')
    with pytest.raises(ConfigError, match=r"latin\.toml is not valid TOML"):
        load(file=tmp_path / "latin.toml")


def test_the_settings_cannot_be_changed_later():
    with pytest.raises(AttributeError):
        Config().port = 1


def test_every_default_is_a_value_that_would_be_accepted():
    for name in FIELDS:
        value = getattr(Config(), name)
        assert getattr(load({name: value}), name) == value


def test_settings_stand_in_the_groups_of_their_options():
    groups = settings_groups()
    options = inspect.signature(serve, eval_str=True).parameters
    for title, group in groups.items():
        panels = {options[name].annotation.__metadata__[0].rich_help_panel for name in group if name in options}
        assert panels <= {title, None}, title
    assert tuple(name for group in groups.values() for name in group) == FIELDS


def test_every_setting_says_what_it_is():
    body = ast.parse(inspect.getsource(Config)).body[0].body
    described = {
        field.target.id
        for field, below in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and len(below.value.value) > 20
    }
    assert described == set(FIELDS)


# ── npm's registry ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def npmrc(tmp_path, monkeypatch):
    """Writes the user's `.npmrc`."""
    monkeypatch.setenv("HOME", str(tmp_path))

    def write(text):
        (tmp_path / ".npmrc").write_text(text, encoding="utf-8")

    return write


def test_without_any_setting_npms_registry_is_the_public_one(npmrc):
    assert npm_registry(environment={}) == PUBLIC_NPM_REGISTRY
    npmrc("; a comment = x\n\naudit=false\nregistry\n")
    assert npm_registry(environment={"NPM_CONFIG_REGISTRY": ""}) == PUBLIC_NPM_REGISTRY


@pytest.mark.parametrize(
    "line", ["registry=http://mine/npm", " registry = http://mine/npm/ ", 'registry="http://mine/npm"']
)
def test_npms_registry_is_read_from_the_users_npmrc(npmrc, line):
    npmrc(f"# registry=http://comment\n{line}\n")
    assert npm_registry(environment={}) == "http://mine/npm/"


@pytest.mark.parametrize("name", ["npm_config_registry", "NPM_CONFIG_REGISTRY"])
def test_the_environment_wins_over_the_npmrc_as_it_does_for_npm(npmrc, name):
    npmrc("registry=http://file/")
    assert npm_registry(environment={name: "https://variable"}) == "https://variable/"


def test_a_scope_can_have_a_registry_of_its_own(npmrc):
    npmrc("@me:registry=http://scope/\nregistry=http://file/\n")
    assert npm_registry("@me", {"NPM_CONFIG_REGISTRY": "http://variable/"}) == "http://scope/"
    assert npm_registry("@other", {}) == "http://file/"


def test_npm_may_be_told_of_another_npmrc(npmrc, tmp_path):
    npmrc("registry=http://home/")
    (tmp_path / "other").write_text("registry=http://other/", encoding="utf-8")
    assert npm_registry(environment={"NPM_CONFIG_USERCONFIG": str(tmp_path / "other")}) == "http://other/"


def test_a_registry_that_is_no_address_is_the_operators_error(npmrc):
    npmrc("registry=${REGISTRY}")
    with pytest.raises(ConfigError, match=r"'\$\{REGISTRY\}', which is no http"):
        npm_registry(environment={})


def test_where_nothing_else_says_where_spans_go_opentelemetrys_own_variables_do(toml):
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://them", "OTEL_EXPORTER_OTLP_HEADERS": "key=theirs"}
    found = load_config({}, None, variables)
    assert (found.otlp_endpoint, found.otlp_headers) == ("http://them", "key=theirs")
    assert load_config({}, toml('otlp_endpoint = "http://us"'), variables).otlp_endpoint == "http://us"
    assert load_config({"otlp_endpoint": "http://flag"}, None, variables).otlp_endpoint == "http://flag"
    assert load_config({}, None, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}).otlp_endpoint is None


def test_an_endpoint_is_an_address_and_its_key_is_never_repeated():
    with pytest.raises(ConfigError, match="otlp_endpoint"):
        load(OTLP_ENDPOINT="localhost:4318")
    with pytest.raises(ConfigError) as wrong:
        load_config({"otlp_headers": 7})
    assert "7" not in str(wrong.value)


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, Supervision()),
        ({"NOTIFY_SOCKET": "", "WATCHDOG_USEC": ""}, Supervision()),
        ({"NOTIFY_SOCKET": "/run/notify"}, Supervision("/run/notify")),
        ({"NOTIFY_SOCKET": "@notify", "WATCHDOG_USEC": "30000000"}, Supervision("@notify", 30.0)),
        ({"NOTIFY_SOCKET": "@notify", "WATCHDOG_USEC": "0"}, Supervision("@notify")),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": str(os.getpid())}, Supervision("@n", 0.001)),
        ({"NOTIFY_SOCKET": "@notify", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}, Supervision("@notify")),
        ({"WATCHDOG_USEC": "1000"}, Supervision()),
    ],
)
def test_a_supervisor_says_in_the_environment_what_it_wants_to_hear(variables, wanted):
    assert supervision(variables) == wanted


def test_a_watchdogs_time_that_is_no_number_is_an_error():
    with pytest.raises(ConfigError, match="WATCHDOG_USEC"):
        supervision({"NOTIFY_SOCKET": "@notify", "WATCHDOG_USEC": "soon"})
