import os

import pytest

from voiceedge.bench.environment import MachineUse, cpu_model, cpu_s, environment, governor
from voiceedge.errors import OperatorError


def test_the_processor_is_named_as_it_names_itself(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nmodel name\t: again\n")
    assert cpu_model(cpuinfo) == "Some CPU @ 2 GHz"


def test_a_system_that_does_not_tell_gets_its_architecture(tmp_path):
    assert cpu_model(tmp_path / "nowhere")


def test_what_a_figure_needs_beside_it_is_there():
    about = environment()
    assert about["cores"] >= 1
    assert about["memory_bytes"] > 1 << 20
    assert {"voiceedge", "python", "websockets", "platform", "kernel", "cpu", "governor"} <= about.keys()
    assert {"container_cpu_cores", "container_memory_bytes"} <= about.keys()


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
