"""`voiceedge token …`, as somebody uses it who sets a node's authentication up."""

import base64
import json
import shlex
import stat
import tomllib

import pytest

from voiceedge import cli
from voiceedge.cli_token import duration_s
from voiceedge.config import load_config
from voiceedge.errors import ConfigError
from voiceedge.server.api_keys import ApiKeys
from voiceedge.server.doors import make_door
from voiceedge.server.jwks import Jwks, source
from voiceedge.server.tokens import Tokens

ISSUER, AUDIENCE = "https://issuer.example/", "voiceedge"


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Runs `voiceedge token …` in a folder of its own; returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["voiceedge", "token", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return call


def make(run, *more, subject="alice"):
    code, out, err = run("make", subject, "--issuer", ISSUER, "--audience", AUDIENCE, *more)
    assert code == 0, err
    return out.strip()


async def test_what_is_made_here_is_good_at_a_node(run, tmp_path):
    assert run("issuer")[0] == 0
    token = make(run, "--tenant", "shop", "--sessions", "2", "--seconds", "60", "--instructions", "Sell.")
    keys = Jwks(source(str(tmp_path / "issuer.jwks.json")), "file")
    grant = await Tokens(keys, issuer=ISSUER, audience=AUDIENCE, algorithms=("EdDSA",)).grant(token)
    assert (grant.subject, grant.tenant, grant.sessions, grant.seconds, grant.updates) == (
        "alice",
        "shop",
        2,
        60,
        ({"instructions": "Sell."},),
    )
    assert grant.token_id


def test_a_private_key_is_its_owners_and_never_overwritten(run, tmp_path):
    run("issuer")
    private = tmp_path / "issuer.pem"
    before = private.read_bytes()
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    code, _, err = run("issuer")
    assert code == 2
    assert "would be lost" in err
    assert private.read_bytes() == before


def test_without_a_key_it_says_how_to_get_one(run):
    code, _, err = run("make", "alice", "--issuer", ISSUER, "--audience", AUDIENCE)
    assert code == 2
    assert "voiceedge token issuer" in err


def test_a_token_is_explained(run):
    run("issuer")
    code, out, _ = run("explain", make(run, "--lasts", "2h"))
    assert code == 0
    assert "EdDSA" in out
    assert "alice" in out
    assert "good for 2 h more" in out
    assert "missing" not in out


def test_what_a_token_lacks_is_said(run):
    code, out, _ = run("explain", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJib2IiLCJleHAiOjF9.")
    assert code == 0
    assert "expired" in out
    assert "iss, aud, nbf" in out


def test_what_is_no_token_is_said_so(run):
    code, _, err = run("explain", "hello")
    assert (code, "no token" in err) == (2, True)


def test_a_key_and_its_entry_fit(run, tmp_path):
    code, out, err = run("key", "shop-7", "--sessions", "3")
    key = err.split()[-1]
    (tmp_path / "keys.toml").write_text(out, "utf-8")
    assert code == 0
    assert key not in out
    assert ApiKeys(tmp_path / "keys.toml").grant(key).sessions == 3


AN_HOUR = {"sessions_an_hour": 5, "audio_seconds_an_hour": 600, "messages_an_hour": 9000, "bytes_an_hour": 10**9}


async def test_what_may_be_used_in_an_hour_is_stated_in_a_key_and_in_a_token(run, tmp_path):
    flags = [text for name, limit in AN_HOUR.items() for text in (f"--{name.replace('_', '-')}", str(limit))]
    _, out, err = run("key", "shop-7", *flags)
    (tmp_path / "keys.toml").write_text(out, "utf-8")
    assert ApiKeys(tmp_path / "keys.toml").grant(err.split()[-1]).limits() == AN_HOUR
    run("issuer")
    keys = Jwks(source(str(tmp_path / "issuer.jwks.json")), "file")
    checking = Tokens(keys, issuer=ISSUER, audience=AUDIENCE, algorithms=("EdDSA",))
    token = make(run, *flags)
    assert (await checking.grant(token)).limits() == AN_HOUR
    assert "audio_seconds_an_hour" in run("explain", token)[1].replace("\n", "")


@pytest.mark.parametrize(
    "name", ["shop 😀", 'a "shop"', "back\\slash", "line\nbreak", "del\x7f", "tab\t", "ü", "n" * 128]
)
def test_whatever_a_key_is_called_its_entry_says_so(run, name):
    code, out, _ = run("key", name, "--tenant", name)
    (entry,) = tomllib.loads(out)["key"]
    assert (code, entry["name"], entry["tenant"]) == (0, name, name)


@pytest.mark.parametrize("name", ["", "n" * 129, "\udcff"])
def test_names_that_no_node_takes_are_refused(run, name):
    run("issuer")
    token = ["--issuer", ISSUER, "--audience", AUDIENCE]
    for command in (["key", name], ["key", "a", "--tenant", name], ["make", name, *token]):
        code, out, err = run(*command)
        assert (code, out) == (2, "")
        assert "is no name" in err


async def test_what_the_issuer_prints_is_a_node_and_a_token_that_fit(run, tmp_path):
    _, out, _ = run("issuer", str(tmp_path / "my keys"))
    serve, make = (shlex.split(line) for line in out.splitlines() if line.startswith("voiceedge "))
    assert (serve[:2], make[:2]) == (["voiceedge", "serve"], ["voiceedge", "token"])
    flags = {flag[2:].replace("-", "_"): value for flag, value in zip(serve[2::2], serve[3::2], strict=True)}
    door = make_door(load_config(flags, environment={}))
    token = run(*make[2:])[1].strip()
    assert (await door.grant({"authorization": f"Bearer {token}"})).subject == "alice"


def unsigned(claims, **header):
    parts = ({"alg": "none", **header}, claims)
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + "."


@pytest.mark.parametrize("text", ["\x1b[2J", "\x1b]0;pwned\x07", "\x9b2J", "\x7f", "a\nb", "\u202e", "\ud800"])
def test_nothing_in_a_strangers_token_reaches_the_terminal_but_text(run, text):
    for token in (unsigned({"sub": text}), unsigned({text: [text]}), unsigned({}, kid=text)):
        code, out, err = run("explain", token)
        assert code == 0, err
        assert text not in out
        assert all(line.isprintable() for line in out.splitlines())
    code, _, err = run("explain", unsigned({}, crit=[text]))
    assert code == 2
    assert all(line.isprintable() for line in err.splitlines())


@pytest.mark.parametrize("moment", [float("inf"), float("nan"), -1, 1e300, 10**30])
def test_a_moment_that_is_none_is_said_so(run, moment):
    code, out, _ = run("explain", unsigned({"exp": moment}))
    assert (code, "no moment" in out) == (0, True)


@pytest.mark.parametrize("text", ["\ud800", "a.\ud800.b", "é.é.é", unsigned({})[:-3], "[" * 5000])
def test_whatever_is_no_token_is_said_in_one_line(run, text):
    code, _, err = run("explain", text)
    assert (code, "no token" in err) == (2, True)


@pytest.mark.parametrize(("stated", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("7d", 604800)])
def test_durations(stated, seconds):
    assert duration_s(stated) == seconds


@pytest.mark.parametrize("stated", ["", "s", "10", "0m", "-1m", "1.5h", "1w", "1 h"])
def test_what_is_no_duration_is_said_so(stated):
    with pytest.raises(ConfigError, match="no duration"):
        duration_s(stated)
