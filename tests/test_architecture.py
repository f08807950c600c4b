"""Who may know whom (ARCHITECTURE.md), read from the imports of every file."""

import ast
from pathlib import Path

import pytest

import voiceedge

ROOT = Path(voiceedge.__file__).parent
FILES = {str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8")) for path in sorted(ROOT.rglob("*.py"))}

FOUNDATION = {"errors", "config", "trace", "audio", "engines"}
MAY_KNOW = {
    "errors": set(),
    "config": {"errors"},
    "trace": {"errors"},
    "audio": {"errors", "config", "trace"},
    "engines": {"errors", "config", "trace", "audio"},
    "conversation": {"errors"},
    "protocol": {"errors", "conversation"},
    "session": FOUNDATION | {"conversation", "protocol"},
    "server": FOUNDATION | {"budget", "conversation", "protocol", "session", "regions"},
    "machine": set(),
    "modelstore": {"errors", "config"},
    "budget": {"errors", "trace"},
    "bench": {"errors", "trace", "audio", "engines", "budget", "machine"},
    "regions": {"errors", "config", "trace"},
    "doctor": FOUNDATION | {"machine", "modelstore", "regions"},
}
TOP = {
    "cli",
    "cli_bench",
    "cli_doctor",
    "cli_models",
    "cli_options",
    "cli_regions",
    "cli_serve",
    "cli_token",
    "terminal",
    "__init__",
}
"""Wired on top of all; what they may know is not restricted, but nobody may know them."""

CLOCKS = {
    "time",
    "perf_counter",
    "monotonic",
    "process_time",
    "thread_time",
    "time_ns",
    "perf_counter_ns",
    "monotonic_ns",
}
EXCLUSIVE = {
    "asyncio": ("session/", "server/", "bench/", "regions/", "cli_bench.py", "cli_regions.py", "cli_serve.py"),
    "anyio": (),
    "onnxruntime": ("engines/",),
    "ctranslate2": ("engines/",),
    "onnx": ("modelstore/build/",),
    "datetime": (),
}
PURE = ("conversation/", "protocol/")
IMPURE = {"asyncio", "numpy", "socket", "time", "threading", "os", "random", "websockets", "starlette"}


def imports(tree):
    """Dotted names of all modules that a file imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where the arrow points"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def reads(tree, module):
    """Names that a file takes from a module: `module.name` and `from module import name`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == module:
            yield node.attr
        elif isinstance(node, ast.ImportFrom) and node.module == module:
            yield from (alias.name for alias in node.names)


def part_of(path):
    """`session` of session/hear.py, `cli` of cli.py."""
    return path.split("/")[0].removesuffix(".py")


def top_level(tree):
    return {name.split(".")[0] for name in imports(tree)}


def test_every_part_has_its_place():
    assert {part_of(path) for path in FILES} - TOP <= set(MAY_KNOW)


@pytest.mark.parametrize("path", FILES)
def test_the_arrows_point_one_way(path):
    known = {name.split(".")[1] for name in imports(FILES[path]) if name.startswith("voiceedge.")} - {"__version__"}
    own = part_of(path)
    if own in TOP:
        assert "cli" not in known
    else:
        assert known <= MAY_KNOW[own] | {own}


@pytest.mark.parametrize("module", EXCLUSIVE)
def test_what_few_may_use_is_used_there_only(module):
    users = {path for path, tree in FILES.items() if module in top_level(tree)}
    assert {path for path in users if not path.startswith(EXCLUSIVE[module])} == set()


@pytest.mark.parametrize("path", [path for path in FILES if path.startswith(PURE)])
def test_decisions_are_pure(path):
    assert top_level(FILES[path]) & IMPURE == set()
    assert not any(isinstance(node, ast.AsyncFunctionDef | ast.Await) for node in ast.walk(FILES[path]))


def test_one_file_reads_the_environment():
    readers = {path for path, tree in FILES.items() if {"environ", "environb", "getenv"} & set(reads(tree, "os"))}
    assert readers == {"config.py"}


def test_one_file_reads_the_clock():
    assert {path for path, tree in FILES.items() if CLOCKS & set(reads(tree, "time"))} == {"trace.py"}
