import shlex

import pytest

from voiceedge.bench.again import command_again


def test_it_can_be_pasted_into_a_shell():
    arguments = ["bench", "host:1", "--say", "What's “it” $HOME?", "--slo", "p95<800ms"]
    assert shlex.split(command_again(arguments, "host:1")) == ["voiceedge", *arguments]


@pytest.mark.parametrize("given", [["--api-key", "s3cret"], ["--api-key=s3cret"]])
def test_a_key_is_not_shown(given):
    command = command_again(["bench", *given, "--runs", "2"], "host:1")
    assert "s3cret" not in command
    assert "KEY" in command
    assert command.endswith("--runs 2")


def test_neither_is_what_may_be_secret_in_the_address():
    url = "wss://user:s3cret@host/v1?token=s3cret"
    command = command_again(["bench", url, "--say", "Who? Me?"], url)
    assert shlex.split(command) == ["voiceedge", "bench", "wss://host/v1", "--say", "Who? Me?"]
