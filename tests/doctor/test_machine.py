"""The processor and memory of a machine, as its /proc or macOS tells them."""

import pytest

from voiceedge.doctor.limits import Limits
from voiceedge.doctor.machine import Machine, _mac, linux, load_finding, machine, machine_findings

X86 = """processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8488C
flags\t\t: fpu sse4_2 avx2 avx512f avx512_vnni avx_vnni amx_int8

processor\t: 1
model name\t: another one
flags\t\t: fpu
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm sve\n"
MEMINFO = "MemTotal:        8000000 kB\nMemFree:          100000 kB\nMemAvailable:    4000000 kB\n"


def of(tmp_path, cpuinfo, allowed=Limits()):  # noqa: B008 - frozen
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    (tmp_path / "meminfo").write_text(MEMINFO)
    return linux(tmp_path, allowed, 4)


def test_what_an_x86_processor_can_do(tmp_path):
    found = of(tmp_path, X86)
    assert found.cpu == "Intel(R) Xeon(R) Platinum 8488C"
    assert found.flags == ("AVX2", "AVX-512 F", "AVX-512 VNNI", "AVX-VNNI", "AMX int8")
    assert (found.memory_bytes, found.memory_free_bytes) == (8_192_000_000, 4_096_000_000)


def test_what_an_arm_processor_can_do(tmp_path):
    assert of(tmp_path, ARM).flags == ("NEON", "dotprod", "i8mm")


def test_a_flag_is_a_whole_word(tmp_path):
    assert of(tmp_path, "flags : avx avx512_vnni_x\n").flags == ()


def test_a_control_group_makes_the_machine_smaller_but_never_larger(tmp_path):
    found = of(tmp_path, X86, Limits(1.5, 2_000_000_000, 1_000_000_000))
    assert (found.usable_cores, found.memory_bytes, found.memory_free_bytes) == (1.5, 2_000_000_000, 1_000_000_000)
    assert of(tmp_path, X86, Limits(64.0, 1 << 50, 1 << 50)).usable_cores == 4
    assert of(tmp_path, X86, Limits(64.0, 1 << 50, 1 << 50)).memory_bytes == 8_192_000_000


def test_macos_tells_it_by_sysctl():
    told = {
        "hw": {
            "hw.optional.arm.FEAT_DotProd": "1",
            "hw.optional.neon": "1",
            "hw.optional.avx2_0": "0",
            "hw.memsize": "17",
        },
        "machdep.cpu": {"machdep.cpu.brand_string": "Apple M2"},
    }
    found = _mac(told.__getitem__)
    assert (found.cpu, found.flags, found.memory_bytes) == ("Apple M2", ("NEON", "dotprod"), 17)
    assert found.memory_free_bytes is None


def test_this_machine_has_a_processor_and_cores():
    found = machine()
    assert found.cpu
    assert 0 < found.usable_cores <= found.cores


def test_the_facts_are_those_that_a_node_tells():
    found = Machine("a processor", ("AVX2",), 4, 2.5, 10, 5)
    assert found.facts() == {"cpu": "a processor", "cores": 2.5, "memory_bytes": 10, "flags": ["AVX2"]}


def levels(**facts):
    found = Machine(**{"cpu": "x", "flags": ("AVX2", "AVX-VNNI"), "cores": 2, **facts})
    return [finding.level for finding in machine_findings(found)]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, ["ok", "ok", "ok"]),
        ({"flags": ("NEON", "dotprod")}, ["ok", "ok", "ok"]),
        ({"flags": ("AVX2",)}, ["warning", "ok", "ok"]),
        ({"flags": ()}, ["problem", "ok", "ok"]),
        ({"quota": 1.5}, ["ok", "warning", "ok"]),
        ({"quota": 2.0}, ["ok", "ok", "ok"]),
        ({"memory_bytes": 4_000_000_000, "memory_free_bytes": 500_000_000}, ["ok", "ok", "warning"]),
        ({"memory_bytes": 4_000_000_000, "memory_free_bytes": 3_000_000_000}, ["ok", "ok", "ok"]),
    ],
)
def test_what_is_not_as_it_should_be_is_marked(facts, expected):
    assert levels(**facts) == expected


@pytest.mark.parametrize(("load", "level"), [(None, "ok"), (0.2, "ok"), (1.5, "warning")])
def test_others_at_work_are_told_because_figures_suffer(load, level):
    assert load_finding(2, load).level == level
