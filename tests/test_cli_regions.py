"""`voiceedge regions`, as a person or a script uses it."""

import json

import pytest

from tests.e2e.nodes import running_node
from voiceedge import cli, cli_regions
from voiceedge.config import FIELDS, PREFIX
from voiceedge.engines.fake import fake_engines


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs `voiceedge regions …`; returns (exit code, stdout, stderr)."""
    for name in FIELDS:
        monkeypatch.delenv(PREFIX + name.upper(), raising=False)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["voiceedge", "regions", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def node():
    with running_node(fake_engines(), max_sessions=5) as node:
        yield node


@pytest.fixture
def file(tmp_path, node):
    path = tmp_path / "nodes.toml"
    path.write_text(
        f'[[node]]\nurl = "{node.http}"\nname = "here"\nregion = "nrt"\n'
        '[[node]]\nurl = "ws://127.0.0.1:1"\nname = "gone"\nregion = "iad"\n',
        encoding="utf-8",
    )
    return path


def test_the_nodes_of_a_file_are_measured_and_one_is_to_be_used(run, file, node):
    code, out, err = run(file, "--from", "Osaka", "--tries", 2)
    assert (code, err) == (0, "")
    assert f"use here: {node.url}" in out
    assert "ready 0/5" in out
    assert "! gone: Connection refused" in out


def test_addresses_will_do(run, node):
    assert run(f"127.0.0.1:{node.port}", "--tries", 1)[0] == 0


def test_the_setting_names_the_file_where_nothing_is_given(run, monkeypatch, file):
    monkeypatch.setenv("VOICEEDGE_REGIONS_FILE", str(file))
    monkeypatch.setenv("VOICEEDGE_REGION", "Osaka")
    code, out, _ = run("--json", "--tries", 1)
    told = json.loads(out)
    assert (code, told["from"]["name"], [n["name"] for n in told["nodes"]]) == (0, "Osaka", ["here", "gone"])
    assert 390 < told["nodes"][0]["distance_km"] < 405


def test_where_you_are_can_be_given_in_degrees(run, file):
    told = json.loads(run(file, "--json", "--from", "35.68,139.69", "--tries", 1)[1])
    assert told["nodes"][0]["distance_km"] == 0


def test_where_no_node_can_be_used_the_exit_code_is_1(run):
    code, out, _ = run("ws://127.0.0.1:1", "--json")
    assert (code, json.loads(out)["use"]) == (1, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "No nodes are given"),
        (("nowhere.toml",), "Cannot read the file of nodes nowhere.toml"),
        (("localhost", "--from", "Atlantis"), "Region 'Atlantis' is not in the table"),
        (("ftp://localhost",), "is no address of a node"),
    ],
)
def test_what_cannot_be_understood_is_one_line_and_exit_code_2(run, arguments, message):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_watching_looks_again_until_ctrl_c(run, monkeypatch, file, form):
    look, looks = cli_regions.look, []

    async def look_twice(*arguments):
        looks.append(arguments)
        if len(looks) > 2:
            raise KeyboardInterrupt
        return await look(*arguments)

    monkeypatch.setattr(cli_regions, "look", look_twice)
    monkeypatch.setattr(cli_regions, "WATCH_S", 0)
    code, out, err = run(file, "--watch", "--tries", 1, *form)
    assert (code, err) == (0, "")
    if form:
        assert [json.loads(line)["nodes"][0]["name"] for line in out.splitlines()] == ["here", "here"]
    else:
        assert "use here" in out
