"""The table of nodes, at 80 columns and as JSON."""

import io
import json

from rich.console import Console

from voiceedge.regions.nodes import Candidate
from voiceedge.regions.places import find
from voiceedge.regions.probing import Reading
from voiceedge.regions.rendering import SCHEMA, as_json, render

TOKYO = find("Tokyo")


def reading(name, state="ready", ms=None, city=None, **facts):
    place = None if city is None else find(city)
    trips = () if ms is None else (ms, ms + 1, ms - 1)
    return Reading(Candidate(name, f"{name}.example.com", 443, secure=True), state, place, trips, **facts)


READINGS = [
    reading("near", ms=4.2, city="Osaka", km=397.0, sessions=2, max_sessions=8),
    reading("virginia", ms=163.0, city="Ashburn", km=10_872.2, sessions=0, max_sessions=8),
    reading(
        "a-name-that-goes-on-and-on-and-on", "full", 1.0, "Limburg an der Lahn", km=9_330.0, reason="all are taken"
    ),
    reading("gone", "unreachable", reason="Connection refused [111]"),
]


def shown(readings, origin=TOKYO):
    out = io.StringIO()
    Console(file=out, width=80, highlight=False).print(render(readings, origin))
    return out.getvalue()


def test_it_fits_into_80_columns_and_the_figures_are_whole():
    lines = shown(READINGS).splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert "10,872" in lines[2]
    assert "108.8" in lines[2]


def test_a_row_says_how_far_how_long_and_what_it_takes_of_a_conversation():
    (row,) = [line for line in shown(READINGS).splitlines() if "virginia" in line]
    assert row.split() == ["virginia", "Ashburn", "ready", "0/8", "10,872", "108.8", "163.0", "109", "%", "33", "%"]


def test_the_nearest_ready_node_is_pointed_at_and_its_address_can_be_copied():
    text = shown(READINGS)
    assert [line.split()[1] for line in text.splitlines() if line.startswith("→")] == ["near"]
    assert "use near: wss://near.example.com/v1/realtime\n" in text + "\n"


def test_what_is_wrong_with_a_node_is_said():
    text = shown(READINGS)
    assert "! gone: Connection refused [111]" in text
    assert "all are taken" in text


def test_a_node_that_beats_light_does_not_stand_where_it_says():
    assert "! near: answers sooner than light could" in shown([reading("near", ms=100.0, city="Ashburn", km=10_872.0)])
    assert "sooner than light" not in shown(READINGS)


def test_without_a_node_to_use_it_says_so():
    assert "No node would take a conversation now." in shown([reading("gone", "unreachable", reason="why")])


def test_what_is_unknown_is_not_made_up():
    (row,) = [line for line in shown([reading("near", ms=4.2)], None).splitlines() if line.startswith("→")]
    assert row.split() == ["→", "near", "unknown", "ready", "?", "?", "4.2", "3", "%", "1", "%"]
    assert "no start: give --from" in shown([reading("near", ms=4.2)], None)


def test_the_json_has_a_schema_and_every_figure():
    told = json.loads(json.dumps(as_json(READINGS, TOKYO, 3)))
    assert (told["schema"], told["from"]["name"], told["use"]) == (
        SCHEMA,
        "Tokyo",
        "wss://near.example.com/v1/realtime",
    )
    virginia, gone = told["nodes"][1], told["nodes"][3]
    assert virginia["round_trip_ms"] == 163.0
    assert virginia["share_of"] == {"150": 1.0867, "500": 0.326}
    assert 108 < virginia["floor_ms"] < 110
    assert gone["round_trip_ms"] is gone["distance_km"] is gone["share_of"]["150"] is None
    assert gone["reason"] == "Connection refused [111]"


def test_the_json_without_a_node_to_use_says_null():
    assert as_json([READINGS[3]], None)["use"] is None
