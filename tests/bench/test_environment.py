import os

import pytest

from voiceedge.bench.environment import cpu_model, cpu_s, environment
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
    assert {"voiceedge", "python", "websockets", "platform", "cpu"} <= about.keys()


def test_the_processor_time_of_a_process_is_its_own_and_the_systems(tmp_path):
    (tmp_path / "7").mkdir()
    before, after = "S 1 7 7 0 -1 4194304 9 0 0 0", "0 0 20 0 3 0 100 1000 50"
    (tmp_path / "7" / "stat").write_text(f"7 (a (strange) name) {before} 150 50 {after}\n")
    assert cpu_s(7, tmp_path) == 200 / os.sysconf("SC_CLK_TCK")


def test_the_processor_time_of_nobody_is_explained_in_one_line(tmp_path):
    with pytest.raises(OperatorError, match="process 7 cannot be read: No such file"):
        cpu_s(7, tmp_path)
