import asyncio

from voiceedge.bench.loop import punctual_loop


async def late_s(seconds):
    """By how much a timer was late, without what a busy machine adds."""
    loop = asyncio.get_running_loop()
    found = []
    for _ in range(15):
        due = loop.time() + seconds
        await asyncio.sleep(seconds)
        found.append(loop.time() - due)
    return min(found)


def test_timers_are_not_rounded_to_milliseconds():
    with asyncio.Runner(loop_factory=punctual_loop) as runner:
        assert 0.0 <= runner.run(late_s(0.0041)) < 0.0007  # epoll would wait for 5 ms


def test_it_does_all_that_a_loop_does():
    async def talk():
        async def shout(reader, writer):
            writer.write((await reader.readline()).upper())
            writer.close()

        async with await asyncio.start_server(shout, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello\n")
            said = await asyncio.wait_for(reader.read(), 10)
            writer.close()
        return said

    with asyncio.Runner(loop_factory=punctual_loop) as runner:
        assert runner.run(talk()) == b"HELLO\n"
