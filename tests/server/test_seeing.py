"""Who looks on sees what goes on, and words only where they are asked for."""

import asyncio
import json
import logging
import sys
import urllib.request

import pytest

from tests.e2e.caller import calling
from tests.server.collector import collecting
from tests.server.seen import MODELS, a_turn, seen_node
from voiceedge.config import Config
from voiceedge.errors import ConfigError
from voiceedge.protocol.extensions import TurnWords
from voiceedge.server import metrics as metrics_module
from voiceedge.server.build import Build
from voiceedge.server.metrics import Metrics
from voiceedge.server.seeing import seeing, watched

BUILD = Build("1.2.3", "nano", MODELS)
WORDS = TurnWords(heard="What is the capital of France?", said="Paris.")


def scraped(node, name):
    with urllib.request.urlopen(f"{node.http}/metrics", timeout=20) as response:
        lines = response.read().decode().splitlines()
    return float(next(line.rpartition(" ")[2] for line in lines if line.startswith(name)))


async def test_a_turn_is_told_to_the_log_the_metrics_and_the_live_view(tmp_path):
    with seen_node(trace_file=tmp_path / "turns.jsonl", budget="p95<1ms") as node:
        async with calling(node.url) as caller:
            await caller.send("response.create")
            turn = await caller.until("voiceedge.turn")
            assert scraped(node, "voiceedge_sessions ") == 1
        assert scraped(node, 'voiceedge_turns_total{status="completed"}') == 1
        assert scraped(node, "voiceedge_turn_seconds_sum") == pytest.approx(turn["total_ms"] / 1000)
        assert scraped(node, 'voiceedge_step_seconds_count{step="llm"}') > 1
        assert scraped(node, 'voiceedge_tokens_total{kind="completion"}') == turn["facts"]["completion_tokens"]
        assert sum(node.see.live.over_budget.values()) == 1
        (line,) = (tmp_path / "turns.jsonl").read_text().splitlines()
        assert json.loads(line)["facts"] == turn["facts"]
        assert "over_budget" in turn["facts"]


def test_without_an_endpoint_there_are_no_spans():
    with seeing(Config(), BUILD) as see:
        assert see.spans is None


def test_an_endpoint_without_opentelemetry_ends_the_start_and_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "voiceedge.server.spans", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    config = Config(otlp_endpoint="http://127.0.0.1:4318")
    with pytest.raises(ConfigError, match=r"pip install 'voiceedge\[otel\]'"), seeing(config, BUILD):
        pass


def test_the_trace_file_is_put_aside_as_the_settings_say(tmp_path):
    path = tmp_path / "turns.jsonl"
    path.write_bytes(b"x" * 1_000_000)
    with seeing(Config(trace_file=path, trace_file_mb=1, trace_files=2), BUILD) as see:
        see.report("sess_1", a_turn())
    assert (tmp_path / "turns.jsonl.1").stat().st_size == 1_000_000
    assert len(path.read_text().splitlines()) == 1


def test_words_go_into_the_trace_file_and_the_spans_and_nowhere_else(tmp_path, caplog):
    path = tmp_path / "turns.jsonl"
    with collecting() as collector, caplog.at_level(logging.DEBUG):
        config = Config(trace_file=path, otlp_endpoint=collector.endpoint)
        with seeing(config, BUILD) as see:
            see.spans.opened("sess_1", {})
            see.report("sess_1", a_turn(words=WORDS))
            see.spans.closed("sess_1", 1000)
        assert "France" not in caplog.text
        assert "France" not in repr(see.live.since(0)) + repr(list(see.metrics.registry.collect()))
        assert json.loads(path.read_text())["words"] == {"heard": WORDS.heard, "said": WORDS.said}
        assert "France" in str(collector.spans)


async def test_the_servers_own_error_leaves_as_it_is_and_the_loop_is_watched_no_more():
    async def serving():
        await asyncio.sleep(0)
        raise ConfigError("no such thing")

    with pytest.raises(ConfigError, match="no such thing"):
        await watched(serving(), Metrics(BUILD))
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_whoever_decides_by_it_is_told_how_late_the_loop_is(monkeypatch):
    monkeypatch.setattr(metrics_module, "LOOP_CHECK_S", 0)
    told, enough = [], asyncio.Event()

    def measured(at, late_s):
        told.append((at, late_s))
        if len(told) == 3:
            enough.set()

    await asyncio.wait_for(watched(enough.wait(), Metrics(BUILD), measured), 5)
    assert sorted(told) == told
    assert all(late_s >= 0 for _, late_s in told)


def test_a_turn_without_words_leaves_none(tmp_path):
    path = tmp_path / "turns.jsonl"
    with seeing(Config(trace_file=path), BUILD) as see:
        see.report("sess_1", a_turn())
    assert "words" not in json.loads(path.read_text())
