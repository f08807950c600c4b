"""`GET /v1/node`: what a node says of itself."""

import json
from dataclasses import asdict

import msgspec
import pytest

from voiceedge import __version__
from voiceedge.config import Config
from voiceedge.engines import STAGES
from voiceedge.engines.loading import ThreadPlan
from voiceedge.errors import ConfigError
from voiceedge.regions import probing
from voiceedge.server.about import FAKE_MODELS, About, ModelFacts
from voiceedge.server.admission import Admission

MACHINE = {"cpu": "a processor", "cores": 2, "memory_bytes": 8_000_000_000, "flags": ["AVX2"]}
SECRET = "s" * 40


def about(admission=None, models=FAKE_MODELS, **settings):
    return About(Config(**settings), admission or Admission(3), models, MACHINE, ThreadPlan(llm=2, workers=2))


async def test_the_answer_has_just_what_is_promised():
    model = ModelFacts("llm", "small", "0" * 64, "int8", 42)
    answer = await about(models=[model], region="NRT", profile="nano").endpoint(None)
    assert json.loads(answer.body) == {
        "version": __version__,
        "region": {"name": "Tokyo", "latitude": 35.68, "longitude": 139.69},
        "profile": "nano",
        "models": [{"stage": "llm", "name": "small", "sha256": "0" * 64, "quantisation": "int8", "bytes": 42}],
        "machine": MACHINE,
        "threads": asdict(ThreadPlan(llm=2, workers=2)),
        "max_sessions": 3,
        "sessions": 0,
    }


def test_sessions_are_counted_when_it_is_asked():
    admission = Admission(3)
    told = about(admission)
    with admission.session():
        assert told.told()["sessions"] == 1
    assert told.told()["sessions"] == 0


def test_a_node_that_was_not_told_where_it_stands_says_null():
    assert about().told()["region"] is None


def test_coordinates_may_stand_for_a_region_of_any_name():
    assert about(region="cellar", latitude=1.0, longitude=2.0).told()["region"] == {
        "name": "cellar",
        "latitude": 1.0,
        "longitude": 2.0,
    }


def test_an_unknown_region_is_the_operators_mistake():
    with pytest.raises(ConfigError, match="'atlantis' is not in the table"):
        about(region="atlantis")


def test_engines_without_models_are_called_fake():
    assert [(m["stage"], m["name"], m["sha256"]) for m in about().told()["models"]] == [
        (s, "fake", "fake") for s in STAGES
    ]


def test_no_setting_is_told_that_is_not_meant_to_be():
    told = json.dumps(about(secret=SECRET, instructions="be kind", tls_key="/etc/key.pem").told())
    assert not any(word in told for word in (SECRET, "be kind", "key.pem"))


def test_the_probe_of_regions_reads_what_it_says():
    told = about(region="NRT").told()
    read = msgspec.json.decode(msgspec.json.encode(told), type=probing._About)
    assert (read.version, read.region.name, read.region.longitude) == (__version__, "Tokyo", 139.69)
