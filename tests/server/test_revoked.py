import os
from pathlib import Path

import pytest

from voiceedge.errors import ConfigError
from voiceedge.server.grant import ANYBODY, Grant
from voiceedge.server.revoked import Revoked

GRANT = Grant(tenant="shop", subject="alice", token_id="t-1")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "revoked.txt"
    path.write_text("# stolen on Monday\nt-9   # a laptop\n\nbob\n", "utf-8")
    return path


def test_tokens_and_subjects_are_named(file):
    revoked = Revoked(file)
    assert revoked.names(Grant(tenant="shop", subject="alice", token_id="t-9"))
    assert revoked.names(Grant(tenant="shop", subject="bob", token_id="t-1"))
    assert not revoked.names(GRANT)
    assert not revoked.names(ANYBODY)


def test_a_line_that_is_added_counts_from_the_next_look_on(file):
    revoked = Revoked(file)
    file.write_text("t-1\n", "utf-8")
    later = file.stat().st_mtime_ns + 1_000_000_000
    os.utime(file, ns=(later, later))
    revoked.refresh()
    assert revoked.names(GRANT)


@pytest.mark.parametrize("line", ["did:example:1#key-2", "did:example:1#key-2 # a laptop", "did:example:1#key-2\t#"])
def test_a_name_may_hold_what_else_begins_a_comment(file, line):
    file.write_text(f"#did:example:2\n  # did:example:3\n{line}\n", "utf-8")
    revoked = Revoked(file)
    assert revoked.names(Grant(tenant="shop", subject="did:example:1#key-2"))
    for subject in ("did:example:1", "did:example:2", "did:example:3"):
        assert not revoked.names(Grant(tenant="shop", subject=subject))


def test_a_broken_file_is_read_once_and_complained_about_once(file, caplog, monkeypatch):
    revoked, reads, read = Revoked(file), [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: reads.append(path) or read(path))
    file.write_bytes(b"\xff, and more than before, so that it is another version of the file")
    for _ in range(100):
        revoked.refresh()
    assert (len(reads), len(caplog.records)) == (1, 1)
    file.unlink()
    for _ in range(100):
        revoked.refresh()
    assert (len(reads), len(caplog.records)) == (1, 2)
    assert revoked.names(Grant(tenant="shop", subject="bob"))


def test_a_file_that_is_gone_lets_nobody_back_in(file):
    revoked = Revoked(file)
    file.unlink()
    revoked.refresh()
    assert revoked.names(Grant(tenant="shop", subject="bob"))


def test_without_the_file_the_node_does_not_start(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        Revoked(tmp_path / "revoked.txt")
