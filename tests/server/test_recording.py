"""Only who agrees is recorded, only while they do, and nobody waits for it."""

import asyncio
import errno
import json
import logging
import os
import threading
from contextlib import contextmanager

import pytest

from tests.server.test_recording_files import read
from tests.server.test_recording_writer import append, delta, response
from voiceedge.protocol import ids
from voiceedge.protocol import server_events as out
from voiceedge.protocol.session_config import LocalNames, default_session, merge
from voiceedge.server import recording
from voiceedge.server.recording import Recorder
from voiceedge.server.recording_files import AUDIO, EVENTS, Files
from voiceedge.server.recording_shelf import Shelf
from voiceedge.server.recording_tape import RATE_HZ
from voiceedge.server.recording_writer import Heard, Writer

YES = {"type": "session.update", "session": {"voiceedge": {"record": True}}}
NO = {"type": "session.update", "session": {"voiceedge": {"record": False}}}
OTHER = {"type": "session.update", "session": {"instructions": "Be brief."}}
ANSWER = (out.ResponseCreated(response=response()), delta(2, 200))


@pytest.fixture
def shelf(tmp_path):
    shelf = Shelf(tmp_path, days=7, megabytes=1000)
    shelf.prepare()
    return shelf


def session(records="client", **update):
    names = LocalNames(model="m", transcription="t", voices=("v",), records=records)
    config = default_session(session_id=ids.session_id(), names=names, expires_at=9)
    return merge(config, update)


async def talk(recorder, *steps, config=None):
    """Let a session receive (a dict), send (an event) or do (a coroutine function); returns what its client got."""
    configs = [config or session()]
    got = []

    async def send(event):
        got.append(event)

    async def messages():
        for step in steps:
            if isinstance(step, out.ServerEvent):
                await say(step)
            elif isinstance(step, dict):
                yield json.dumps(step)
            else:
                await step()

    with recorder.follow(lambda: configs[-1], messages(), send) as (heard, say):
        await say(out.SessionCreated(session=configs[-1].echo()))
        async for message in heard:
            event = json.loads(message)
            if event["type"] == "session.update":
                configs.append(merge(configs[-1], event["session"]))
                await say(out.SessionUpdated(session=configs[-1].echo()))
    return got


def lines_of(folder):
    return [json.loads(line) for line in (folder / EVENTS).read_bytes().splitlines()]


def types_of(folder):
    return [(line["from"], line["event"]["type"]) for line in lines_of(folder)[1:]]


# ── consent ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_session_that_agrees_is_recorded_from_then_on(shelf):
    with Recorder(shelf) as recorder:
        got = await talk(recorder, append(1, 100), OTHER, YES, append(3, 100), *ANSWER, {"type": "response.cancel"})
    (folder,) = shelf.recordings()
    assert types_of(folder) == [
        ("node", "session.updated"),
        ("node", "response.created"),
        ("client", "response.cancel"),
        ("recording", "ended"),
    ]
    frames = read(folder)
    assert set(frames[:, 0]) == {3, 0}
    assert (frames[:, 1] == 2).sum() == 0.2 * RATE_HZ
    assert [event.session["voiceedge"]["record"] for event in got[:3]] == [False, False, True]


async def test_one_that_does_not_is_not(shelf):
    with Recorder(shelf) as recorder:
        await talk(recorder, append(1, 100), OTHER, *ANSWER, NO, append(1, 100))
    assert shelf.recordings() == []


async def test_consent_may_come_with_a_token_or_a_client_secret(shelf):
    with Recorder(shelf) as recorder:
        await talk(recorder, append(1, 100), config=session(voiceedge={"record": True}))
    (folder,) = shelf.recordings()
    assert types_of(folder) == [("node", "session.created"), ("recording", "ended")]


async def test_where_the_operator_answers_for_it_all_are_recorded_but_those_that_refuse(shelf):
    with Recorder(shelf) as recorder:
        got = await talk(recorder, append(1, 100), config=session("operator"))
        await talk(recorder, append(1, 100), config=session("operator", voiceedge={"record": False}))
    (folder,) = shelf.recordings()
    assert lines_of(folder)[0]["consent"] == "operator"
    assert got[0].session["voiceedge"] == {"record": True}


async def test_nothing_is_recorded_before_the_client_has_been_told(shelf):
    config = session(voiceedge={"record": True})

    async def messages():
        yield json.dumps(append(1, 100))

    async def send(_):
        raise ConnectionError

    with Recorder(shelf) as recorder, recorder.follow(lambda: config, messages(), send) as (heard, say):
        with pytest.raises(ConnectionError):
            await say(out.SessionCreated(session=config.echo()))
        assert [message async for message in heard]
    assert shelf.recordings() == []


async def test_who_takes_consent_back_is_not_recorded_any_more_and_what_was_is_deleted(shelf, caplog):
    caplog.set_level(logging.INFO, "voiceedge")
    kept = []

    async def look():
        await settled(recorder)
        kept.extend(shelf.recordings())

    with Recorder(shelf) as recorder:
        await talk(recorder, YES, append(1, 100), *ANSWER, look, NO, append(1, 100))
        await settled(recorder)
        assert shelf.recordings() == []
    assert len(kept) == 1
    assert shelf.recordings() == []
    assert "deleted" in caplog.text


async def test_consent_that_is_taken_back_with_the_last_message_counts(shelf):
    """The client hangs up before anybody could tell it."""
    configs = [session(voiceedge={"record": True})]

    async def send(_):
        pass

    async def messages():
        yield json.dumps(append(1, 100))
        yield json.dumps(NO)

    with Recorder(shelf) as recorder, recorder.follow(lambda: configs[-1], messages(), send) as (heard, say):
        await say(out.SessionCreated(session=configs[-1].echo()))
        async for message in heard:
            if "record" in message:
                configs.append(merge(configs[-1], NO["session"]))
    assert shelf.recordings() == []


async def test_null_takes_it_back_as_well(shelf):
    with Recorder(shelf) as recorder:
        await talk(recorder, YES, append(1, 100), {"type": "session.update", "session": {"voiceedge": None}})
    assert shelf.recordings() == []


async def test_who_agrees_anew_is_recorded_from_then_on_only(shelf):
    with Recorder(shelf) as recorder:
        await talk(recorder, YES, append(1, 100), NO, append(3, 100), YES, append(5, 100))
    (folder,) = shelf.recordings()
    assert set(read(folder)[:, 0]) == {5}


# ── nobody waits for it ───────────────────────────────────────────────────────────────────────────────────


@contextmanager
def a_slow_disk(monkeypatch):
    """Writing takes until the block is left; gives a list of what has been written all the same."""
    go_on, take, written = threading.Event(), Writer.take, []

    def slow(*arguments):
        go_on.wait(20)
        take(*arguments)
        written.append(arguments)

    monkeypatch.setattr(Writer, "take", slow)
    try:
        yield written
    finally:
        go_on.set()


async def test_a_disk_that_is_too_slow_costs_what_comes_then_and_no_time(shelf, monkeypatch):
    monkeypatch.setattr(recording, "MAX_OF_ONE_BYTES", 100_000)
    with Recorder(shelf) as recorder, a_slow_disk(monkeypatch) as written:
        await talk(recorder, YES, *[append(1, 20)] * 100)
        assert written == []
    (folder,) = shelf.recordings()
    end = lines_of(folder)[-1]["event"]
    assert not end["is_complete"]
    assert 0 < end["missed"] < 100
    assert (folder / AUDIO).stat().st_size < 44 + 4 * RATE_HZ * 2


async def test_what_one_session_floods_is_not_missing_from_anothers(shelf, monkeypatch):
    monkeypatch.setattr(recording, "MAX_OF_ONE_BYTES", 50_000)
    with Recorder(shelf) as recorder, a_slow_disk(monkeypatch):
        await talk(recorder, YES, *[append(1, 20)] * 100)
        await talk(recorder, YES, append(3, 20))
    ends = {lines_of(folder)[-1]["event"]["is_complete"] for folder in shelf.recordings()}
    assert ends == {True, False}


async def test_all_together_hold_no_more_than_stated(shelf, monkeypatch):
    monkeypatch.setattr(recording, "MAX_WAITING_BYTES", 60_000)
    with Recorder(shelf) as recorder, a_slow_disk(monkeypatch):
        for _ in range(3):
            await talk(recorder, YES, *[append(1, 20)] * 20)
        assert recorder._put_bytes - recorder._taken_bytes <= 60_000
    assert any("missed" in lines_of(folder)[-1]["event"] for folder in shelf.recordings())


async def test_consent_is_taken_back_even_when_nothing_else_finds_room(shelf, monkeypatch):
    monkeypatch.setattr(recording, "MAX_OF_ONE_BYTES", 20_000)
    with Recorder(shelf) as recorder, a_slow_disk(monkeypatch):
        await talk(recorder, YES, *[append(1, 20)] * 50, NO)
    assert shelf.recordings() == []


# ── a disk that fails ─────────────────────────────────────────────────────────────────────────────────────


async def test_on_a_full_disk_a_recording_ends_with_one_warning_and_the_session_goes_on(shelf, monkeypatch, caplog):
    pwrite, is_full = os.pwrite, [True]

    def full(file, data, at):
        if is_full[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(file, data, at)

    monkeypatch.setattr(os, "pwrite", full)
    long = append(1, 12_000)
    with Recorder(shelf) as recorder:
        got = await talk(recorder, YES, *[long] * 5, *ANSWER)
        await settled(recorder)
        is_full[0] = False
        await talk(recorder, YES, long)
    assert got[-1].delta == ANSWER[-1].delta
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        "The recording cannot be written, and ends here: No space left on device"
    ]
    first, second = sorted(shelf.recordings(), key=lambda folder: (folder / AUDIO).stat().st_size)
    assert (first / AUDIO).stat().st_size == 44
    assert lines_of(second)[-1]["event"]["is_complete"]


async def test_what_could_not_be_finished_is_deleted_when_consent_is_taken_back(shelf, monkeypatch):
    monkeypatch.setattr(Files, "write_audio", fails)
    with Recorder(shelf) as recorder:
        await talk(recorder, YES, append(1, 100), append(1, 100))
        await settled(recorder)
        assert len(shelf.recordings()) == 1
        await talk(recorder, YES, append(1, 100), append(1, 100), NO)
    assert len(shelf.recordings()) == 1


def fails(*_):
    raise OSError(errno.EIO, os.strerror(errno.EIO))


async def test_what_cannot_be_deleted_now_is_deleted_later(shelf, monkeypatch, caplog):
    delete, tries = shelf.delete, []

    def not_at_first(folder):
        tries.append(folder)
        if len(tries) == 1:
            fails()
        delete(folder)

    monkeypatch.setattr(shelf, "delete", not_at_first)
    with Recorder(shelf) as recorder:
        await talk(recorder, YES, append(1, 100), NO)
        await talk(recorder, YES, append(1, 100))
    assert "cannot be yet" in caplog.text
    assert len(shelf.recordings()) == 1
    assert tries[0] not in shelf.recordings()


async def test_an_error_of_our_own_ends_one_recording_and_no_other(shelf, monkeypatch):
    take = Writer.take

    def broken(self, what, at):
        if "broken" in str(what):
            raise ZeroDivisionError
        take(self, what, at)

    monkeypatch.setattr(Writer, "take", broken)
    with Recorder(shelf) as recorder:
        await talk(recorder, YES, {"type": "broken"}, append(1, 100))
        await talk(recorder, YES, append(1, 100))
    ends = [lines_of(folder)[-1].get("event", {}).get("type") for folder in shelf.recordings()]
    assert ends.count("ended") == 1


@pytest.mark.parametrize("place", ["take", "end", "surplus"])
async def test_want_of_memory_ends_no_thread_and_consent_is_taken_back_all_the_same(shelf, monkeypatch, place):
    def none_left(*_):
        raise MemoryError

    with Recorder(shelf) as recorder:
        await talk(recorder, YES, append(1, 100))
        broken = shelf if place == "surplus" else Writer
        monkeypatch.setattr(broken, place, none_left)
        await talk(recorder, YES, append(1, 100))
        await talk(recorder, YES, append(1, 100), NO)
        await settled(recorder)
        assert len(shelf.recordings()) == 2
        assert recorder._thread.is_alive()


async def test_files_that_cannot_be_closed_are_deleted_when_consent_is_taken_back(shelf, monkeypatch):
    close = Files.close

    def closing_fails(self):
        close(self)
        fails()

    monkeypatch.setattr(Files, "close", closing_fails)
    with Recorder(shelf) as recorder:
        await talk(recorder, YES, append(1, 100), NO)
    assert shelf.recordings() == []


async def test_want_of_memory_at_the_very_end_costs_one_recording_its_end_and_no_other(shelf, monkeypatch):
    end, calls = Writer.end, []

    def broken(self, why=None):
        calls.append(why)
        if len(calls) == 1:
            raise MemoryError
        end(self, why)

    monkeypatch.setattr(Writer, "end", broken)
    recorder = Recorder(shelf)
    with recorder:
        for _ in range(2):
            open_one = recording._Recording(ids.session_id(), "client", "audio/pcm")
            recorder.put(open_one, recording._Control.BEGIN, 0.0)
        await settled(recorder)
    assert calls == ["the node stopped"] * 2
    assert not recorder._open


# ── retention ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_at_the_start_and_when_a_recording_begins_or_ends_the_old_ones_go(tmp_path):
    clock = [1_795_473_791]
    shelf = Shelf(tmp_path, days=1, megabytes=1000, clock=lambda: clock[0])
    shelf.prepare()
    with Recorder(shelf) as recorder:
        await talk(recorder, YES, append(1, 100))
    (first,) = shelf.recordings()
    clock[0] += 90_000
    with Recorder(shelf) as recorder:
        assert shelf.recordings() == []
        await talk(recorder, YES, append(1, 100))
        await settled(recorder)
        clock[0] += 90_000
        await talk(recorder, YES, append(1, 100))
    (last,) = shelf.recordings()
    assert first.name < last.name


async def test_a_recording_that_alone_is_too_large_ends_and_goes(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(recording, "TIDY_S", 0.0)
    shelf = Shelf(tmp_path, days=1, megabytes=1)
    shelf.prepare()
    with Recorder(shelf) as recorder:
        await talk(recorder, YES, *[append(1, 5000)] * 12, lambda: settled(recorder), append(1, 100))
    assert shelf.recordings() == []


# ── helpers ───────────────────────────────────────────────────────────────────────────────────────────────


async def settled(recorder):
    """Wait until the thread has taken all that was put."""
    probe = recording._Recording("sess_probe", "", "")
    recorder.put(probe, Heard("", "audio/pcm"), 0.0)
    async with asyncio.timeout(10):
        while not probe.taken_bytes:  # noqa: ASYNC110 - a thread sets no event
            await asyncio.sleep(0.002)
