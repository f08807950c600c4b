"""The processor and memory of a machine, as its /proc or macOS tells them."""

import os
import subprocess

import pytest

from voiceedge.machine import Limits, Machine, load_average, machine
from voiceedge.machine.facts import _mac, _sysctl, linux

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


@pytest.mark.parametrize(("cores", "quota", "whole"), [(4, None, 4), (4, 2.5, 2), (4, 64.0, 4), (2, 0.5, 1)])
def test_threads_are_planned_for_cores_that_are_granted_whole_and_for_one_at_least(cores, quota, whole):
    assert Machine("x", (), cores, quota).whole_cores == whole


@pytest.mark.parametrize("error", [FileNotFoundError(), subprocess.TimeoutExpired("sysctl", 5)])
def test_a_system_that_does_not_answer_tells_nothing(monkeypatch, error):
    def run(*_, **__):
        raise error

    monkeypatch.setattr(subprocess, "run", run)
    assert _sysctl("hw") == {}


def test_a_system_without_an_average_of_its_load_tells_none(monkeypatch):
    monkeypatch.delattr(os, "getloadavg")
    assert load_average() is None


def test_the_facts_are_those_that_a_node_tells():
    found = Machine("a processor", ("AVX2",), 4, 2.5, 10, 5)
    assert found.facts() == {"cpu": "a processor", "cores": 2.5, "memory_bytes": 10, "flags": ["AVX2"]}
