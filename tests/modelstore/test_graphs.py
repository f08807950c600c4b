"""A build appears whole or not at all, and is kept by what it was built from."""

import subprocess
import sys
from pathlib import Path

import pytest

from voiceedge.errors import ModelMissing
from voiceedge.modelstore import graphs
from voiceedge.modelstore.fetch import silent
from voiceedge.modelstore.manifest import BuildStep, PathSource

STEP = BuildStep("gguf", "weights.bin")


def compile_upper(source: Path, target: Path, progress) -> None:
    progress(0.5, "halfway")
    (target / "model.onnx").write_bytes(source.read_bytes().upper())


@pytest.fixture
def manifest(make_file, make_catalogue):
    return make_catalogue(make_file(b"abc", PathSource("/nowhere")), build=STEP).model("tiny")


@pytest.fixture
def source(tmp_path) -> Path:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"abc")
    return path


def test_a_build_records_what_came_out_and_tells_its_progress(manifest, source, tmp_path):
    steps = []
    target = tmp_path / "build-1"
    graphs.build(manifest, STEP, source, target, graphs.Builder("1", compile_upper), steps.append)
    assert (target / "model.onnx").read_bytes() == b"ABC"
    outputs = graphs.outputs(target)
    assert outputs is not None
    assert outputs["model.onnx"].bytes == 3
    assert [(step.what, step.done, step.total, step.unit) for step in steps] == [
        ("building: halfway", 50, 100, "percent")
    ]


def test_a_build_that_fails_leaves_nothing(manifest, source, tmp_path):
    def half(source, target, progress):
        compile_upper(source, target, progress)
        raise ValueError

    with pytest.raises(ValueError):
        graphs.build(manifest, STEP, source, tmp_path / "build-1", graphs.Builder("1", half), silent)
    assert [path.name for path in tmp_path.iterdir()] == ["weights.bin"]


def test_a_full_disk_while_building_is_told_to_the_operator(manifest, source, tmp_path):
    def full(source, target, progress):
        raise OSError(28, "No space left on device")

    with pytest.raises(ModelMissing, match=r"cannot be built at .*No space left"):
        graphs.build(manifest, STEP, source, tmp_path / "build-1", graphs.Builder("1", full), silent)


def test_what_a_killed_build_left_is_replaced(manifest, source, tmp_path):
    for name in ("build-1", ".build-1.new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rubbish").write_bytes(b"")
    assert graphs.outputs(tmp_path / "build-1") is None
    graphs.build(manifest, STEP, source, tmp_path / "build-1", graphs.Builder("1", compile_upper), silent)
    assert sorted(path.name for path in (tmp_path / "build-1").iterdir()) == ["build.json", "model.onnx"]


def test_the_folder_depends_on_the_input_and_on_the_builder(manifest, make_file, make_catalogue, tmp_path):
    other = make_catalogue(make_file(b"abd", PathSource("/nowhere")), build=STEP).model("tiny")
    folders = {
        graphs.build_folder(tmp_path, manifest, STEP, "1"),
        graphs.build_folder(tmp_path, manifest, STEP, "2"),
        graphs.build_folder(tmp_path, other, STEP, "1"),
    }
    assert len(folders) == 3
    assert all(folder.parent == tmp_path and folder.name.startswith("build-") for folder in folders)


@pytest.mark.parametrize("record", [b"", b"{}", b'{"builder": 1}'])
def test_a_damaged_record_means_no_build(tmp_path, record):
    (tmp_path / "build.json").write_bytes(record)
    assert graphs.outputs(tmp_path) is None


def test_a_new_build_takes_the_place_of_older_ones_but_only_when_it_is_done(manifest, source, tmp_path):
    older = tmp_path / "build-0"
    older.mkdir()

    def fail(source, target, progress):
        raise ValueError

    with pytest.raises(ValueError):
        graphs.build(manifest, STEP, source, tmp_path / "build-1", graphs.Builder("1", fail), silent)
    assert older.exists()
    graphs.build(manifest, STEP, source, tmp_path / "build-1", graphs.Builder("1", compile_upper), silent)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["build-1", "weights.bin"]


def test_asking_for_the_builders_version_imports_neither_onnx_nor_gguf():
    code = (
        "import sys; from voiceedge.modelstore.graphs import onnx_builder; onnx_builder().version; "
        "print([name for name in ('onnx', 'gguf', 'tokenizers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
