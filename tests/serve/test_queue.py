"""The job queue: order, positions, 429, stopped and failed jobs, draining; no worker is ever lost."""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from srgan.serve.problems import Problem
from srgan.serve.queue import JobQueue, ServeLimits


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(asyncio.wait_for(main(), 20))


def job_queue(**changes: Any) -> JobQueue:
    return JobQueue(**({"workers": 1, "size": 2, "seconds": 60.0, "name": "test"} | changes))


async def start(queue: JobQueue, job: Callable[[Any], Any], **options: Any) -> asyncio.Task[Any]:
    task = asyncio.create_task(queue.run(job, **options))
    for _ in range(5):
        await asyncio.sleep(0)
    return task


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"patience": -1.0}, {"budget": 5, "size": 6}])
def test_wrong_limits(wrong):
    with pytest.raises(ValueError, match=f"--{next(iter(wrong))} "):
        ServeLimits(**wrong)


def test_one_job_at_a_time_in_order():
    async def main() -> list[int]:
        queue, done, gate = job_queue(size=10), [], threading.Event()
        tasks = [await start(queue, lambda p, n=n: (gate.wait(10), done.append(n))) for n in range(5)]
        assert (queue.running, queue.waiting) == (1, 4)
        gate.set()
        await asyncio.gather(*tasks)
        await asyncio.sleep(0)
        assert (queue.running, queue.waiting) == (0, 0)
        return done

    assert run(main) == [0, 1, 2, 3, 4]


def test_positions():
    async def main() -> list[int]:
        queue, gate, positions = job_queue(size=10), threading.Event(), []
        tasks = [await start(queue, lambda p: gate.wait(10)) for _ in range(3)]
        tasks.append(await start(queue, lambda p: None, on_position=positions.append))
        tasks[1].cancel()  # a waiting client leaves
        await asyncio.wait({tasks[1]})
        gate.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        return positions

    assert run(main) == [3, 2, 1]


def test_a_full_queue_is_429_with_retry_after():
    async def main() -> Problem:
        queue, gate = job_queue(size=2), threading.Event()
        queue.mean_seconds = 7.0
        tasks = [await start(queue, lambda p: gate.wait(10)) for _ in range(3)]
        with pytest.raises(Problem) as refused:
            await queue.run(lambda p: None)
        gate.set()
        await asyncio.gather(*tasks)
        return refused.value

    problem = run(main)
    assert problem.status == 429
    assert problem.headers["Retry-After"] == "21"  # two wait, each takes 7 s


def test_a_worker_is_free_when_its_thread_ends():
    async def main() -> bool:
        queue, gate = job_queue(), threading.Event()
        first = await start(queue, lambda p: gate.wait(10))
        first.cancel()
        second = await start(queue, lambda p: True)
        assert queue.running == 1 and not second.done()
        gate.set()
        return await second

    assert run(main)


def test_a_job_over_its_time_is_503():
    async def main() -> Problem:
        queue = job_queue(seconds=0.05)

        def endless(check: Callable[[int, int], None]) -> None:
            while True:
                time.sleep(0.005)
                check(3, 9)

        with pytest.raises(Problem) as over:
            await queue.run(endless)
        assert await queue.run(lambda p: 5) == 5
        return over.value

    problem = run(main)
    assert (problem.status, problem.kind) == (503, "time")
    assert "33 % were done" in problem.detail


def test_drain():
    async def main() -> list[Any]:
        queue, gate = job_queue(), threading.Event()
        tasks = [await start(queue, lambda p: gate.wait(10)) for _ in range(3)]
        queue.drain()
        gate.set()
        with pytest.raises(Problem, match="shutting down"):
            await queue.run(lambda p: None)
        return await asyncio.gather(*tasks, return_exceptions=True)

    finished, *refused = run(main)
    assert finished is True
    assert [(problem.status, problem.headers) for problem in refused] == [(503, {"Retry-After": "10"})] * 2


@pytest.mark.parametrize("seed", range(20))
def test_no_worker_is_lost(seed):
    async def main() -> None:
        chance, queue = random.Random(seed), job_queue(workers=2, size=8)
        tasks: list[asyncio.Task[Any]] = []
        for _ in range(40):
            tasks.append(asyncio.create_task(queue.run(lambda p: time.sleep(0.0005))))
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            if chance.random() < 0.4:
                chance.choice(tasks).cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while queue.running:
            await asyncio.sleep(0.001)
        assert queue.waiting == 0
        assert await queue.run(lambda p: 1) == 1

    run(main)
