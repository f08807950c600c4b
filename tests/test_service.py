"""What deploy/voiceedge.service promises, read from the file, and judged by systemd where it is installed."""

import re
import shlex
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from tests.test_image import SHUTDOWN_S
from voiceedge import cli_serve
from voiceedge.config import Config, load_config
from voiceedge.errors import OperatorError

UNIT = Path(__file__).resolve().parents[1] / "deploy" / "voiceedge.service"
MOST_EXPOSED = 2.0
"""Of `systemd-analyze security`, where 10 is a service without any limits."""


def settings():
    """Every setting's values, in their order."""
    found = defaultdict(list)
    for line in UNIT.read_text("utf-8").splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            found[name].append(value)
    return found


SETTINGS = settings()


def test_the_command_is_one_of_the_command_line():
    (command,) = SETTINGS["ExecStart"]
    program, *arguments = shlex.split(command)
    assert Path(program).name == "voiceedge"
    assert arguments[0] == cli_serve.serve.__name__
    assert arguments[1:2] == ["--config"]


def test_its_variables_are_settings():
    variables = dict(pair.split("=", 1) for line in SETTINGS["Environment"] for pair in line.split())
    config = load_config({}, environment=variables)
    (cache,) = SETTINGS["CacheDirectory"]
    assert config.home == Path("/var/cache") / cache
    commented = re.search(r"\((VOICEEDGE_\w+), (VOICEEDGE_\w+)\)", UNIT.read_text("utf-8"))
    assert {name.removeprefix("VOICEEDGE_").lower() for name in commented.groups()} <= set(Config.__struct_fields__)


def test_ready_is_who_says_so_and_who_hangs_is_started_again():
    assert SETTINGS["Type"] == ["notify"]
    # the node itself notices first, and says where it hangs
    assert int(SETTINGS["WatchdogSec"][0]) > Config().step_timeout_s
    assert SETTINGS["Restart"] == ["on-failure"]


def test_a_wrong_setting_and_a_stop_while_it_loads_are_no_reasons_to_start_again():
    assert SETTINGS["RestartPreventExitStatus"] == [str(OperatorError.exit_code)]
    assert SETTINGS["SuccessExitStatus"] == [str(cli_serve.TERMINATED)]


def test_it_is_killed_only_after_the_time_to_drain():
    assert int(SETTINGS["TimeoutStopSec"][0]) >= Config().drain_s + SHUTDOWN_S
    assert SETTINGS["KillMode"] == ["mixed"]


@pytest.mark.parametrize("name", ["NoNewPrivileges", "DynamicUser", "PrivateTmp", "PrivateDevices", "ProtectHome"])
def test_it_has_no_more_rights_than_it_needs(name):
    assert SETTINGS[name] == ["yes"]


def test_it_may_use_so_much_memory_and_no_capability():
    assert SETTINGS["MemoryMax"] == ["3G"]
    assert SETTINGS["CapabilityBoundingSet"] == SETTINGS["AmbientCapabilities"] == [""]
    assert SETTINGS["ProtectSystem"] == ["strict"]


@pytest.fixture
def analyze(tmp_path):
    """`systemd-analyze`, with the unit whose program is one that exists."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("There is no systemd-analyze: on Debian, apt-get install systemd.")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text("utf-8").replace("/opt/voiceedge/bin/voiceedge", "/bin/true"), "utf-8")
    return lambda *words: subprocess.run([program, *words, unit], capture_output=True, text=True, timeout=60)


def test_systemd_understands_every_line(analyze):
    done = analyze("verify", "--man=no")
    complaints = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert complaints == []


def test_systemd_finds_it_little_exposed(analyze):
    done = analyze("security", "--offline=true", "--no-pager")
    exposed = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert exposed is not None, done.stderr
    assert float(exposed[1]) <= MOST_EXPOSED
