from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from srgan.serve.desk import Desk, Stopped
from srgan.serve.problems import Problem


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(asyncio.wait_for(main(), 20))


def desk(**changes: Any) -> Desk:
    return Desk(**({"workers": 1, "queue": 2, "seconds": 60.0, "name": "test"} | changes))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_work_is_done_in_the_order_of_arrival_and_one_at_a_time() -> None:
    async def main() -> list[int]:
        line, done, gate = desk(queue=10), [], threading.Event()

        def work(number: int) -> Callable[[Any], None]:
            return lambda progress: (gate.wait(10), done.append(number))[1]

        tasks = []
        for number in range(5):
            tasks.append(asyncio.create_task(line.run(work(number))))
            await settle()
        assert (line.running, line.waiting) == (1, 4)
        gate.set()
        await asyncio.gather(*tasks)
        await settle()
        assert (line.running, line.waiting) == (0, 0)
        return done

    assert run(main) == [0, 1, 2, 3, 4]


def test_who_waits_hears_how_many_are_before() -> None:
    async def main() -> list[int]:
        line, gate, heard = desk(queue=10), threading.Event(), []
        tasks = [asyncio.create_task(line.run(lambda p: gate.wait(10))) for _ in range(3)]
        await settle()
        tasks.append(asyncio.create_task(line.run(lambda p: None, moved=heard.append)))
        await settle()
        tasks[1].cancel()  # one who waits goes away
        await settle()
        gate.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        return heard

    assert run(main) == [3, 2, 1]


def test_a_full_line_is_a_429_that_says_when_to_come_back() -> None:
    async def main() -> Problem:
        line, gate = desk(queue=2), threading.Event()
        line.typical = 7.0
        tasks = [asyncio.create_task(line.run(lambda p: gate.wait(10))) for _ in range(3)]
        await settle()
        with pytest.raises(Problem) as refused:
            await line.run(lambda p: None)
        gate.set()
        await asyncio.gather(*tasks)
        return refused.value

    problem = run(main)
    assert problem.status == 429
    assert problem.headers["Retry-After"] == "21"  # two wait, each takes 7 s


def test_a_cancelled_job_stops_at_its_next_tile_and_frees_its_place() -> None:
    async def main() -> str:
        line, begun, ended = desk(), threading.Event(), asyncio.get_running_loop().create_future()

        def tiles(progress: Callable[[int, int], None]) -> None:
            try:
                for tile in range(10_000):
                    begun.set()
                    progress(tile, 10_000)
                    threading.Event().wait(0.001)
                result = "all tiles"
            except Stopped:
                result = "stopped"
            ended.get_loop().call_soon_threadsafe(ended.set_result, result)

        task = asyncio.create_task(line.run(tiles))
        await asyncio.to_thread(begun.wait)
        task.cancel()
        result = await ended
        await line.run(lambda p: None)  # the place is free again
        return str(result)

    assert run(main) == "stopped"


def test_the_place_of_a_cancelled_job_is_taken_only_when_its_thread_is_free() -> None:
    async def main() -> bool:
        line, gate = desk(), threading.Event()
        first = asyncio.create_task(line.run(lambda p: gate.wait(10)))
        await settle()
        first.cancel()
        await settle()
        assert line.running == 1
        second = asyncio.create_task(line.run(lambda p: True))
        await settle()
        assert not second.done()
        gate.set()
        return await second

    assert run(main)


def test_a_job_over_its_time_ends_with_a_sentence() -> None:
    async def main() -> Problem:
        line = desk(seconds=0.05)

        def endless(progress: Callable[[int, int], None]) -> None:
            while True:
                threading.Event().wait(0.005)
                progress(3, 9)

        with pytest.raises(Problem) as over:
            await line.run(endless)
        assert await line.run(lambda p: 5) == 5  # and the next one is served
        return over.value

    problem = run(main)
    assert (problem.status, problem.kind) == (503, "time")
    assert "3 of 9 tiles" in problem.sentence


def test_one_jobs_failure_is_its_own() -> None:
    async def main() -> int:
        line = desk()
        with pytest.raises(ZeroDivisionError):
            await line.run(lambda p: 1 / 0)
        return await line.run(lambda p: 7)

    assert run(main) == 7


def test_draining_finishes_what_runs_and_refuses_the_rest() -> None:
    async def main() -> list[Any]:
        line, gate = desk(), threading.Event()
        tasks = [asyncio.create_task(line.run(lambda p: gate.wait(10))) for _ in range(3)]
        await settle()
        line.drain()
        gate.set()
        with pytest.raises(Problem, match="shutting down"):
            await line.run(lambda p: None)
        return await asyncio.gather(*tasks, return_exceptions=True)

    ran, *waited = run(main)
    assert ran is True
    assert [problem.status for problem in waited] == [503, 503]
    assert all("Retry-After" in problem.headers for problem in waited)


@pytest.mark.parametrize("seed", range(30))
def test_no_place_is_lost_whatever_is_cancelled_when(seed: int) -> None:
    import random

    async def main() -> None:
        chance, line = random.Random(seed), desk(workers=2, queue=8)
        tasks: list[asyncio.Task[None]] = []
        for _ in range(40):
            tasks.append(asyncio.create_task(line.run(lambda p: threading.Event().wait(0.0005) and None)))
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            if chance.random() < 0.4:
                chance.choice(tasks).cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while line.running:
            await asyncio.sleep(0.001)
        assert line.waiting == 0
        assert await line.run(lambda p: 1) == 1

    run(main)
