import pytest

from voiceedge.bench.container import cpu_limit_cores, memory_limit_bytes


@pytest.fixture
def groups(tmp_path):
    """Writes control groups; returns where they are, and where a process's own group stands."""

    def write(own, files):
        for name, text in files.items():
            path = tmp_path / "fs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        (tmp_path / "own").write_text(own + "\n")
        return tmp_path / "fs", tmp_path / "own"

    return write


def test_version_2_is_read(groups):
    found = groups("0::/", {"cpu.max": "150000 100000", "memory.max": "1073741824"})
    assert (cpu_limit_cores(*found), memory_limit_bytes(*found)) == (1.5, 1 << 30)


def test_version_1_is_read(groups):
    files = {
        "cpu/docker/x/cpu.cfs_quota_us": "200000",
        "cpu/docker/x/cpu.cfs_period_us": "100000",
        "memory/docker/x/memory.limit_in_bytes": "536870912",
        "memory/memory.limit_in_bytes": "9223372036854771712",  # none
    }
    found = groups("4:memory:/docker/x\n3:cpu,cpuacct:/docker/x", files)
    assert (cpu_limit_cores(*found), memory_limit_bytes(*found)) == (2.0, 512 << 20)


def test_the_narrowest_of_all_groups_above_counts(groups):
    files = {"a/cpu.max": "50000 100000", "a/b/cpu.max": "max 100000", "a/b/memory.max": "max", "a/memory.max": "4096"}
    found = groups("0::/a/b", files)
    assert (cpu_limit_cores(*found), memory_limit_bytes(*found)) == (0.5, 4096)


def test_a_container_that_sees_its_own_group_as_the_root_is_read(groups):
    found = groups("0::/machine/of/somebody", {"cpu.max": "100000 100000"})
    assert cpu_limit_cores(*found) == 1.0


def test_without_a_limit_or_on_another_system_there_is_none(groups, tmp_path):
    found = groups("0::/", {"cpu.max": "max 100000", "memory.max": "max"})
    assert (cpu_limit_cores(*found), memory_limit_bytes(*found)) == (None, None)
    nowhere = (tmp_path / "no", tmp_path / "none")
    assert (cpu_limit_cores(*nowhere), memory_limit_bytes(*nowhere)) == (None, None)
