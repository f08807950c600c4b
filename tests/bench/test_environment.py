import os

import pytest

from voiceedge.bench.environment import MachineUse, cpu_s, environment, governor
from voiceedge.errors import OperatorError
from voiceedge.machine import Limits, limits


def test_what_a_figure_needs_beside_it_is_there():
    about = environment()
    assert about["cores"] >= 1
    assert about["memory_bytes"] > 1 << 20
    assert {"voiceedge", "python", "websockets", "platform", "kernel", "cpu", "governor"} <= about.keys()
    assert {"container_cpu_cores", "container_memory_bytes"} <= about.keys()


def test_a_container_is_told_as_the_doctor_tells_it(monkeypatch, tmp_path):
    group = tmp_path / "cgroup" / "cpu,cpuacct"  # as some systems mount it
    group.mkdir(parents=True)
    (group / "cpu.cfs_quota_us").write_text("150000")
    (group / "cpu.cfs_period_us").write_text("100000")
    (tmp_path / "own").write_text("3:cpu,cpuacct:/\n")
    allowed = limits(tmp_path / "own", tmp_path / "cgroup")
    monkeypatch.setattr("voiceedge.bench.environment.limits", lambda: allowed)
    assert allowed == Limits(cores=1.5)
    assert environment()["container_cpu_cores"] == 1.5


def test_the_governor_is_told_where_the_system_tells_it(tmp_path):
    path = tmp_path / "scaling_governor"
    path.write_text("performance\n")
    assert governor(path) == "performance"
    assert governor(tmp_path / "nowhere") is None


def test_of_the_time_that_passed_the_share_that_others_took_is_told(tmp_path):
    stat, moments = tmp_path / "stat", iter((10.0, 12.0))
    stat.write_text("cpu  100 0 100 700 0 0 0 100 0 0\ncpu0 1 2 3\n")
    use = MachineUse(clock=lambda: next(moments), stat=stat)
    stat.write_text("cpu  120 0 110 760 0 0 0 110 9 9\ncpu0 1 2 3\n")
    told = use.so_far()
    assert (told["lasted_s"], told["steal_percent"]) == (2.0, 10.0)
    assert told["client_cpu_percent"] >= 0.0
    assert {"load_before", "load_after"} <= told.keys()


@pytest.mark.parametrize("text", ["", "cpu 1 2 3\n", "intr 5\n", "cpu  1 2 3 4 5 6 7 8\n"])
def test_a_system_that_does_not_tell_has_no_stolen_share(tmp_path, text):
    stat = tmp_path / "stat"
    stat.write_text(text)
    assert MachineUse(stat=stat).so_far()["steal_percent"] is None


def test_the_processor_time_of_a_process_is_its_own_and_the_systems(tmp_path):
    (tmp_path / "7").mkdir()
    before, after = "S 1 7 7 0 -1 4194304 9 0 0 0", "0 0 20 0 3 0 100 1000 50"
    (tmp_path / "7" / "stat").write_text(f"7 (a (strange) name) {before} 150 50 {after}\n")
    assert cpu_s(7, tmp_path) == 200 / os.sysconf("SC_CLK_TCK")


def test_the_processor_time_of_nobody_is_explained_in_one_line(tmp_path):
    with pytest.raises(OperatorError, match="process 7 cannot be read: No such file"):
        cpu_s(7, tmp_path)
