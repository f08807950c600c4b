import os
from pathlib import Path

import pytest

from voiceedge.errors import ConfigError, Unauthorised
from voiceedge.server.api_keys import ApiKeys, hashed, make_key

KEY = make_key()


def entry(name, key, **more):
    lines = [
        f'{field} = "{value}"' if isinstance(value, str) else f"{field} = {value}" for field, value in more.items()
    ]
    return "\n".join(["[[key]]", f'name = "{name}"', f'sha256 = "{hashed(key)}"', *lines, ""])


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "keys.toml"
    path.write_text(entry("shop-7", KEY, sessions=2, seconds=60), "utf-8")
    return path


def change(file, text):
    """Write the file, at a moment that no file system takes for the same."""
    file.write_text(text, "utf-8")
    later = file.stat().st_mtime_ns + 1_000_000_000
    os.utime(file, ns=(later, later))


def test_a_key_in_the_file_opens_and_brings_its_limits(file):
    grant = ApiKeys(file).grant(KEY)
    assert (grant.tenant, grant.subject, grant.sessions, grant.seconds, grant.ends_at) == (
        "shop-7",
        "shop-7",
        2,
        60,
        None,
    )


def test_a_key_may_say_what_its_tenant_may_use_in_an_hour(tmp_path):
    limits = {"sessions_an_hour": 5, "audio_seconds_an_hour": 600, "messages_an_hour": 9000, "bytes_an_hour": 10**9}
    path = tmp_path / "keys.toml"
    path.write_text(entry("shop-7", KEY, **limits), "utf-8")
    assert ApiKeys(path).grant(KEY).limits() == limits


def test_keys_may_share_a_tenant(tmp_path):
    other = make_key()
    path = tmp_path / "keys.toml"
    path.write_text(entry("a", KEY, tenant="shops") + entry("b", other, tenant="shops"), "utf-8")
    keys = ApiKeys(path)
    assert keys.grant(KEY).tenant == keys.grant(other).tenant == "shops"


@pytest.mark.parametrize("key", ["", KEY[:-1], KEY + "x", KEY.upper(), hashed(KEY), "x" * 300, "\udcff"], ids=range(7))
def test_no_other_key_opens(file, key):
    with pytest.raises(Unauthorised, match="not good"):
        ApiKeys(file).grant(key)


def test_the_file_holds_no_key(file):
    assert KEY not in file.read_text("utf-8")


def test_a_key_that_is_taken_out_of_the_file_is_not_good_any_more(file):
    keys, other = ApiKeys(file), make_key()
    before = keys.grant(KEY)
    assert keys.knows(before.key_hash)
    change(file, entry("shop-8", other))
    keys.refresh()
    with pytest.raises(Unauthorised):
        keys.grant(KEY)
    assert not keys.knows(before.key_hash)
    assert keys.knows(keys.grant(other).key_hash)


def test_a_file_that_is_broken_later_leaves_the_keys_as_they_were(file):
    keys = ApiKeys(file)
    change(file, "[[key]")
    keys.refresh()
    file.unlink()
    keys.refresh()
    assert keys.grant(KEY).tenant == "shop-7"


def test_a_broken_file_is_read_once_and_complained_about_once(file, caplog, monkeypatch):
    keys, reads, read = ApiKeys(file), [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: reads.append(path) or read(path))
    change(file, "[[key]")
    for _ in range(100):
        keys.refresh()
    assert (len(reads), len(caplog.records)) == (1, 1)
    file.unlink()
    for _ in range(100):
        keys.refresh()
    assert (len(reads), len(caplog.records)) == (1, 2)
    other = make_key()
    change(file, entry("shop-8", other))
    keys.refresh()
    assert keys.grant(other).tenant == "shop-8"
    file.unlink()
    keys.refresh()
    assert len(caplog.records) == 3, "it was well in between"


@pytest.mark.parametrize(
    "text",
    [
        "[[key]]\nname = 'a'\nsha256 = 'short'\n",
        "[[key]]\nname = ''\nsha256 = '" + "0" * 64 + "'\n",
        "[[key]]\nname = 'a'\nsha256 = '" + "0" * 64 + "'\nsession = 1\n",
        "key = 1\n",
        entry("a", KEY) + entry("a", make_key()),
        entry("a", KEY) + entry("b", KEY),
    ],
)
def test_a_file_that_says_something_else_is_refused(tmp_path, text):
    path = tmp_path / "keys.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=r"keys\.toml"):
        ApiKeys(path)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        ApiKeys(tmp_path / "keys.toml")


def test_keys_are_long_and_never_the_same():
    made = {make_key() for _ in range(100)}
    assert len(made) == 100
    assert all(key.startswith("ve_") and len(key) >= 43 for key in made)
