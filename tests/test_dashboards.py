"""The dashboard shows what /metrics has, and loads without a hand."""

import json
import re
from pathlib import Path

import pytest

from tests.metrics_document import METRICS, metrics_table

BOARD = json.loads((Path(__file__).resolve().parents[1] / "dashboards" / "voiceedge.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
ROW = re.compile(r"^\| `(voiceedge_\w+)` \| (\w+)", re.MULTILINE)


def exposed():
    """Names of all series of the node's own metrics, as they are queried."""
    names = set()
    for name, kind in ROW.findall(metrics_table()):
        names |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"} if kind == "histogram" else {name}
    return names


def asked():
    return {name for query in QUERIES for name in re.findall(r"\b(voiceedge_\w+)", query)}


def test_it_asks_for_nothing_that_is_not_there():
    assert asked() - exposed() == set()


def test_it_shows_every_metric_that_there_is():
    shown = {re.sub("_(bucket|sum|count)$", "", name) for name in asked()}
    assert {name for name, _ in ROW.findall(metrics_table())} == shown


def test_every_metric_is_in_the_documents():
    text = METRICS.read_text(encoding="utf-8")
    assert {name for name, _ in ROW.findall(metrics_table()) if f"`{name}`" not in text} == set()


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_panel_takes_the_data_source_that_is_chosen(panel):
    sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
    assert panel["description"]


def test_nothing_has_to_be_filled_in_to_load_it():
    assert "__inputs" not in BOARD
    chosen = {variable["name"]: variable for variable in BOARD["templating"]["list"]}
    assert chosen["datasource"]["type"] == "datasource"
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(BOARD["panels"])))
    assert used - {"__rate_interval"} == set(chosen)


def test_labels_that_it_asks_for_have_these_values():
    table = metrics_table()
    for query in QUERIES:
        for label, value in re.findall(r'(\w+)="(\w+)"', query):
            assert re.search(rf"`{label}`: [\w, ]*\b{value}\b", table), query


def test_panels_have_ids_and_places_of_their_own():
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(ids) == len(set(ids))
    cells = [
        (x, y)
        for panel in BOARD["panels"]
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
