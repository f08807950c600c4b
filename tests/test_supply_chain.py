"""What is installed and what is loaded is pinned to its content, and may be passed on."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))
MANIFESTS = [
    path for path in sorted((ROOT / "models").glob("*.toml")) if "files" in tomllib.loads(path.read_text("utf-8"))
]
FREE = {"Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "Unlicense"}
"""Licences of models that oblige nobody to publish what is built with them."""
DYNAMIC = re.compile(r"\b(eval|exec|pickle|marshal|shelve|dill|yaml\.load|os\.system)\b\s*[.(]")


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_every_library_is_pinned_to_a_version_and_to_its_content(path: Path):
    lines = path.read_text("utf-8").replace("\\\n", " ").splitlines()
    stated = [line for line in lines if line.strip() and not line.lstrip().startswith(("#", "--index", "--only"))]
    assert len(stated) > 20
    for line in stated:
        assert re.match(r"[a-z0-9-]+(\[[a-z,]+\])?==\S+ ", line), line
        assert "--hash=sha256:" in line, line


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_every_file_of_a_shipped_model_is_known_by_its_hash_and_its_licence_is_free(path: Path):
    manifest = tomllib.loads(path.read_text("utf-8"))
    assert manifest["licence"] in FREE
    for file in manifest["files"]:
        assert re.fullmatch(r"[0-9a-f]{64}", file["sha256"])


def test_nothing_that_is_read_is_run():
    """No pickle, no eval: a file or a message is data."""
    for path in (ROOT / "voiceedge").rglob("*.py"):
        code = "\n".join(line.split("#")[0] for line in path.read_text("utf-8").splitlines())
        assert not DYNAMIC.search(code), path


def test_no_secret_is_in_the_tree():
    """Neither a static key nor a private key, but for what tests make up."""
    secret = re.compile(r"\bve_[A-Za-z0-9_-]{43}\b|-----BEGIN [A-Z ]*PRIVATE KEY-----")
    folders = ("voiceedge", "scripts", "docs", "models", "dashboards", "deploy")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    texts = {path: path.read_text("utf-8", errors="ignore") for path in files if path.suffix not in {".png", ".pyc"}}
    assert not [path for path, text in texts.items() if secret.search(text)]
