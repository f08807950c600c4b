"""What control groups of either version leave of a machine."""

import pytest

from voiceedge.machine import Limits, limits

NONE_V1 = 9223372036854771712


@pytest.fixture
def tree(tmp_path):
    """Writes files below a tree of control groups and reads the limits of a process in it."""

    def read(membership, **files):
        for name, text in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        (tmp_path / "self").write_text(membership)
        return limits(tmp_path / "self", tmp_path / "cgroup")

    return read


def v2(folder="", **files):
    return {f"{folder}{name.replace('_', '.', 1)}": text for name, text in files.items()}


def test_a_machine_without_control_groups_has_no_limits(tmp_path):
    assert limits(tmp_path / "none", tmp_path / "nothing") == Limits()


def test_version_2_tells_a_quota_and_memory(tree):
    files = v2(cpu_max="150000 100000", memory_max=2_000_000_000, memory_current=500_000_000)
    assert tree("0::/\n", **files, **{"memory.stat": "anon 1\ninactive_file 100000000"}) == Limits(
        1.5, 2_000_000_000, 1_600_000_000
    )


def test_max_is_no_limit(tree):
    assert tree("0::/\n", **v2(cpu_max="max 100000", memory_max="max", memory_current=7)) == Limits()


def test_the_least_of_a_group_and_those_above_it_holds(tree):
    outer = v2(cpu_max="400000 100000", memory_max=1000, memory_current=900)
    inner = v2("pod/box/", cpu_max="200000 100000", memory_max=5000, memory_current=10)
    found = tree("0::/pod/box\n", **outer, **inner)
    assert found == Limits(2.0, 1000, 100)


def test_a_container_that_sees_its_group_as_the_root_of_the_tree_is_read_as_well(tree):
    assert tree("0::/host/only/path\n", **v2(cpu_max="50000 100000")).cores == 0.5


def test_version_1_has_a_tree_for_each_controller(tree):
    found = tree(
        "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/\n",
        **{
            "cpu,cpuacct/cpu.cfs_quota_us": -1,
            "cpu,cpuacct/docker/abc/cpu.cfs_quota_us": 250_000,
            "cpu,cpuacct/docker/abc/cpu.cfs_period_us": 100_000,
            "memory/memory.limit_in_bytes": NONE_V1,
            "memory/memory.usage_in_bytes": 1,
            "memory/docker/abc/memory.limit_in_bytes": 1_000,
            "memory/docker/abc/memory.usage_in_bytes": 700,
            "memory/docker/abc/memory.stat": "cache 5\ntotal_inactive_file 200",
        },
    )
    assert found == Limits(2.5, 1_000, 500)


def test_version_1_without_limits_has_none(tree):
    files = {"cpu/cpu.cfs_quota_us": -1, "cpu/cpu.cfs_period_us": 100_000, "memory/memory.limit_in_bytes": NONE_V1}
    assert tree("2:cpu:/\n1:memory:/\n", **files, **{"memory/memory.usage_in_bytes": 5}) == Limits()


def test_memory_that_is_used_up_leaves_nothing(tree):
    assert tree("0::/\n", **v2(memory_max=100, memory_current=130)).memory_left_bytes == 0
