"""`voiceedge token …`, as somebody uses it who sets a node's authentication up."""

import stat

import pytest

from voiceedge import cli
from voiceedge.cli_token import duration_s
from voiceedge.errors import ConfigError
from voiceedge.server.api_keys import ApiKeys
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


@pytest.mark.parametrize(("stated", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("7d", 604800)])
def test_durations(stated, seconds):
    assert duration_s(stated) == seconds


@pytest.mark.parametrize("stated", ["", "s", "10", "0m", "-1m", "1.5h", "1w", "1 h"])
def test_what_is_no_duration_is_said_so(stated):
    with pytest.raises(ConfigError, match="no duration"):
        duration_s(stated)
