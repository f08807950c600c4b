import asyncio

import pytest

from voiceedge.errors import CallerError, SlowReader
from voiceedge.protocol.server_events import ItemDeleted, OutputAudioDelta
from voiceedge.session import outbox as outbox_module
from voiceedge.session.outbox import MAX_AUDIO_S, Outbox


def event(name):
    return ItemDeleted(item_id=name)


def delta(name, response_id="r1"):
    return OutputAudioDelta(response_id=response_id, item_id="i", output_index=0, content_index=0, delta=name)


def name_of(sent):
    return sent.delta if isinstance(sent, OutputAudioDelta) else sent.item_id


async def sent_by(outbox):
    """Everything that is in the outbox, in the order in which it goes out."""
    names = []

    async def send(event):
        names.append(name_of(event))

    outbox.close()
    await outbox.drain(send)
    return names


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def put_audio(outbox, name, seconds=0.2, owner="r1", handed_over=lambda: None):
    await outbox.put_audio(delta(name, owner), seconds, owner, handed_over)


async def test_everything_goes_out_in_the_order_in_which_it_was_put():
    outbox = Outbox()
    outbox.put(event("a"))
    await put_audio(outbox, "b")
    outbox.put(lambda: event("c"))
    outbox.put(event("d"), owner="r1")
    assert await sent_by(outbox) == ["a", "b", "c", "d"]


async def test_what_is_put_later_is_sent_as_it_comes():
    outbox, sent = Outbox(), []

    async def send(event):
        sent.append(name_of(event))

    draining = asyncio.create_task(outbox.drain(send))
    await settle()
    for name in "ab":
        outbox.put(event(name))
        await settle()
        assert sent[-1] == name
    outbox.close()
    await draining


async def test_closing_sends_what_is_there_and_then_ends():
    outbox, sent, gate = Outbox(), [], asyncio.Event()

    async def send(event):
        await gate.wait()
        sent.append(name_of(event))

    outbox.put(event("a"))
    outbox.put(event("b"))
    draining = asyncio.create_task(outbox.drain(send))
    await settle()
    outbox.close()
    gate.set()
    await draining
    assert sent == ["a", "b"]


# ── backpressure ──────────────────────────────────────────────────────────────────────────────────────────


async def test_audio_waits_when_two_seconds_stand_before_it_and_other_events_do_not():
    outbox = Outbox()
    await put_audio(outbox, "a", MAX_AUDIO_S / 2)
    await put_audio(outbox, "b", MAX_AUDIO_S / 2)
    third = asyncio.create_task(put_audio(outbox, "c"))
    await settle()
    assert not third.done()
    outbox.put(event("x"))
    sent, gate = [], asyncio.Event()

    async def send(event):
        sent.append(name_of(event))
        await gate.wait()

    draining = asyncio.create_task(outbox.drain(send))
    await settle()
    assert sent == ["a"]
    assert third.done()  # the first delta has made room
    gate.set()
    outbox.close()
    await draining
    assert sent == ["a", "b", "x", "c"]


async def test_all_who_wait_get_their_turn():
    outbox = Outbox()
    await put_audio(outbox, "0", MAX_AUDIO_S)
    waiting = [asyncio.create_task(put_audio(outbox, str(n), MAX_AUDIO_S)) for n in (1, 2, 3)]
    await settle()
    sent = []

    async def send(event):
        sent.append(name_of(event))

    draining = asyncio.create_task(outbox.drain(send))
    await asyncio.gather(*waiting)
    outbox.close()
    await draining
    assert sorted(sent) == ["0", "1", "2", "3"]


async def test_a_reader_that_lets_the_queue_fill_up_is_cut_off(monkeypatch):
    monkeypatch.setattr(outbox_module, "MAX_EVENTS", 2)
    outbox = Outbox()
    outbox.put(event("a"))
    outbox.put(event("b"))
    with pytest.raises(SlowReader):
        outbox.put(event("c"))
    assert await sent_by(outbox) == ["a", "b"]


async def test_a_reader_that_takes_nothing_for_too_long_is_cut_off(monkeypatch):
    monkeypatch.setattr(outbox_module, "STALL_S", 0.001)
    outbox = Outbox()
    outbox.put(event("a"))

    async def send(event):
        await asyncio.Event().wait()

    with pytest.raises(SlowReader) as raised:
        await outbox.drain(send)
    assert isinstance(raised.value, CallerError)


async def test_a_socket_that_fails_is_no_slow_reader():
    outbox = Outbox()
    outbox.put(event("a"))

    async def send(event):
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await outbox.drain(send)


# ── cancelled answers ─────────────────────────────────────────────────────────────────────────────────────


async def test_a_cancelled_answer_takes_its_audio_and_captions_with_it_and_nothing_else():
    outbox, heard = Outbox(), []
    outbox.put(event("created"))
    outbox.put(event("caption"), owner="r1")
    await put_audio(outbox, "audio", handed_over=lambda: heard.append("audio"))
    await put_audio(outbox, "other's", owner="r2", handed_over=lambda: heard.append("other's"))
    outbox.put(event("done"))
    outbox.discard("r1")
    assert await sent_by(outbox) == ["created", "other's", "done"]
    assert heard == ["other's"]


async def test_discarding_makes_room():
    outbox = Outbox()
    await put_audio(outbox, "a", MAX_AUDIO_S)
    waiting = asyncio.create_task(put_audio(outbox, "b", owner="r2"))
    await settle()
    outbox.discard("r1")
    await settle()
    assert waiting.done()
    assert await sent_by(outbox) == ["b"]


async def test_discarding_one_answer_still_counts_the_audio_of_another():
    outbox = Outbox()
    await put_audio(outbox, "a", 0.5)
    await put_audio(outbox, "b", MAX_AUDIO_S, owner="r2")
    outbox.discard("r1")
    waiting = asyncio.create_task(put_audio(outbox, "c", owner="r2"))
    await settle()
    assert not waiting.done()
    waiting.cancel()


# ── late events ───────────────────────────────────────────────────────────────────────────────────────────


async def test_a_late_event_is_made_when_its_turn_has_come():
    outbox, order = Outbox(), []
    await put_audio(outbox, "audio", handed_over=lambda: order.append("handed over"))

    def late():
        order.append("made")
        return event("late")

    outbox.put(late)
    assert order == []
    assert await sent_by(outbox) == ["audio", "late"]
    assert order == ["handed over", "made"]


async def test_a_late_event_that_has_nothing_to_say_is_not_sent():
    outbox = Outbox()
    outbox.put(lambda: None)
    outbox.put(event("a"))
    assert await sent_by(outbox) == ["a"]


async def test_audio_is_noted_before_the_socket_has_taken_it():
    outbox, order = Outbox(), []
    await put_audio(outbox, "a", handed_over=lambda: order.append("noted"))

    async def send(event):
        order.append("sent")

    outbox.close()
    await outbox.drain(send)
    assert order == ["noted", "sent"]


async def test_it_is_flushed_when_the_socket_has_taken_everything():
    outbox, gate = Outbox(), asyncio.Event()

    async def send(event):
        await gate.wait()

    await outbox.flushed()  # nothing to wait for
    outbox.put(event("a"))
    await put_audio(outbox, "b")
    draining = asyncio.create_task(outbox.drain(send))
    flushed = asyncio.create_task(outbox.flushed())
    await settle()
    outbox.discard("r1")
    await settle()
    assert not flushed.done()
    gate.set()
    await flushed
    outbox.close()
    await draining


async def test_of_large_events_two_stand_in_the_queue_and_the_third_waits():
    outbox, sent, reads = Outbox(), [], asyncio.Event()

    async def send(event):
        await reads.wait()
        sent.append(name_of(event))

    async def reply():
        for name in "abcd":
            await outbox.one_at_a_time()
            outbox.put(event(name))
            made.append(name)

    made = []
    replying, draining = asyncio.create_task(reply()), asyncio.create_task(outbox.drain(send))
    await settle()
    assert made == ["a", "b"]
    reads.set()
    await replying
    await outbox.flushed()
    assert sent == ["a", "b", "c", "d"]
    draining.cancel()


async def test_who_waits_until_it_is_flushed_waits_no_longer_when_the_client_has_gone():
    outbox = Outbox()
    outbox.put(event("never read"))

    async def send(_):
        raise ConnectionError("gone")

    waiting = asyncio.ensure_future(outbox.flushed())
    await settle()
    assert not waiting.done()
    with pytest.raises(ConnectionError):
        await outbox.drain(send)
    outbox.put(event("later"))
    async with asyncio.timeout(1):
        await waiting
        await outbox.flushed()
