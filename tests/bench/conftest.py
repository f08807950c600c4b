import pytest

from tests.bench.scripted_node import tone, write_wav


@pytest.fixture
def recordings(tmp_path):
    for name in ("one", "two"):
        write_wav(tmp_path / f"{name}.wav", tone(0.5))
    return tmp_path
