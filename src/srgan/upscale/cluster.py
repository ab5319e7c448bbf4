"""`srgan upscale --ray`: a list of pictures, handed out by Ray Data to the actors of a cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import queue
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from srgan.errors import ImageError, SrganError, UsageError
from srgan.fs import printable
from srgan.upscale.actor import Actor, Desk, Row
from srgan.upscale.batch import Failure
from srgan.upscale.inputs import Item
from srgan.upscale.onefile import FileOptions
from srgan.upscale.progress import Quiet

CPUS = 4
"""Of an actor, where a node has so many: several engines of few threads do more than one of many."""
PART = 32
"""Most pictures that an actor is given at a time, and that Ray tries again when the actor dies."""
RETRIES = 3
"""Of a part, by Ray; then each of its pictures is tried by itself, so that one that kills every actor fails alone."""
PATIENCE = 60.0
"""Seconds that actors have for removing what they began, when the command is stopped."""
_SURROUNDINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # tell nobody
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # under `uv run` Ray would copy the working folder to every node
    "RAY_ENABLE_AUTO_CONNECT": "0",  # no second Ray for what asks after the end
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # Ray's internals stay off stderr
}


def share(nodes: Sequence[Mapping[str, float]], actors: int | None, *, gpu: bool) -> tuple[int, dict[str, float]]:
    """How many actors on nodes with these resources ("CPU", "GPU"), and what Ray reserves for each.

    A GPU each, or a part of one where more are wanted; without GPUs 4 CPUs each, or all CPUs in as many equal
    shares as are wanted, none across two nodes.
    """
    gpus = int(sum(node.get("GPU", 0) for node in nodes)) if gpu else 0
    if gpus:
        return actors or gpus, {"num_gpus": 1 / -(-(actors or gpus) // gpus)}
    cpus = [int(node.get("CPU", 0)) for node in nodes]
    largest = max([1, *cpus])
    if actors is None:
        each = min(CPUS, largest)
        return max(1, sum(count // each for count in cpus)), {"num_cpus": each}
    enough = (each for each in range(largest, 1, -1) if sum(count // each for count in cpus) >= actors)
    return actors, {"num_cpus": next(enough, 1)}


def upscale_on_ray(
    items: Sequence[Item],
    how: Mapping[str, Any],
    options: FileOptions,
    *,
    address: str,
    actors: int | None,
    quiet: bool,
    written: Callable[[Path], None],
) -> list[Failure]:
    """Do all items by `Upscaler(**how)` in each actor; the failures, both in the order in which they came.

    `written` is told of each finished file. Raises what `Upscaler` does, and UsageError where no Ray is or goes on.
    """
    ray = _connected(address)
    pending, failures, said = {item.target: item for item in items}, [], set()
    try:
        gpu = how["engine"] == "pytorch" or (how["engine"] == "auto" and how["precision"] not in ("fp32", "int8"))
        count, each = share([node["Resources"] for node in ray.nodes() if node["Alive"]], actors, gpu=gpu)
        threads = int(each["num_cpus"]) if "num_cpus" in each else None
        given = {"how": {**how, "threads": threads}, "options": options, "folder": Path.cwd()}
        for most in (max(1, min(PART, len(items) // (8 * count))), 1):
            with contextlib.closing(_rows(ray, list(pending.values()), most, count, each, given, quiet)) as rows:
                for item, error, notes in rows:
                    for note in notes:
                        if note not in said:
                            said.add(note)
                            Quiet().say(note)
                    if item is None and error is not None:
                        raise error
                    if item is None or pending.pop(item.target, None) is None:
                        continue
                    if isinstance(error, SrganError):
                        failures.append(Failure(path=item.source, error=error))
                    else:
                        written(item.target)
            if not pending:
                break
    except ray.exceptions.RayError as error:
        raise UsageError(f"Ray gave up: {_sentence(error)}") from error
    finally:
        ray.shutdown()
    for item in pending.values():
        reason = f"{printable(item.source)}: every actor that was given it died, as for want of memory."
        failures.append(Failure(path=item.source, error=ImageError(reason)))
    return failures


def _connected(address: str) -> Any:
    os.environ.update(_SURROUNDINGS)
    if address != "local":  # a cluster that is gone would be asked for many minutes
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")
    import ray
    import ray.data

    handler = signal.getsignal(signal.SIGTERM)  # which Ray replaces by its own
    dashboard = False if address == "local" else None
    tries = 3 if address == "local" else 1  # a busy machine may need longer than the 15 s that Ray waits for itself
    for left in reversed(range(tries)):
        try:
            if ":" in address:
                host, _, port = address.rpartition(":")
                socket.create_connection((host.strip("[]"), int(port)), 10).close()  # Ray would try for many minutes
            ray.init(address, include_dashboard=dashboard, log_to_driver=False, logging_level=logging.ERROR)
            break
        except Exception as error:  # of any type, and of many
            if not left:
                raise UsageError(f"no Ray answers at {printable(address)}: {_sentence(error)}") from error
        finally:
            signal.signal(signal.SIGTERM, handler)
    return ray


def _rows(
    ray: Any,
    items: Sequence[Item],
    most: int,
    actors: int,
    each: Mapping[str, float],
    given: Mapping[str, Any],
    quiet: bool,
) -> Generator[Row]:
    """What the actors answer, as it comes; Ray Data runs in another thread, for it kills them when interrupted.

    When closed early, it waits until the actors have removed what they began.
    """
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = not quiet
    context.enable_rich_progress_bars, context.use_ray_tqdm = True, False  # bars of what is installed
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR if quiet else logging.INFO)
    context.max_errored_blocks = -1  # of an actor that died too often; what it had stays pending
    desk = ray.remote(num_cpus=0)(Desk).remote()
    parts = -(-len(items) // most)
    rows = ray.data.from_items([{"item": pickle.dumps(item)} for item in items], override_num_blocks=parts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # max_task_retries has no other way in, and Ray 2.64 is to close this one
        rows = rows.map_batches(
            Actor,
            fn_constructor_kwargs={**given, "desk": desk},
            batch_size=len(items) // parts,
            compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=1),
            max_task_retries=RETRIES,
            **each,
        )
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    stopped = threading.Event()

    def read() -> None:
        try:
            for row in rows.iter_rows():
                answers.put(pickle.loads(row["row"]))
                if stopped.is_set():
                    break
            answers.put(None)
        except BaseException as error:
            answers.put(error)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while (answer := answers.get()) is not None:
            if isinstance(answer, BaseException):
                raise answer
            yield answer
    finally:
        end = time.monotonic() + PATIENCE
        while reader.is_alive() and ray.get(desk.close.remote()) and time.monotonic() < end:
            time.sleep(0.1)
        stopped.set()
        reader.join(PATIENCE / 6)


def _sentence(error: Exception) -> str:
    """The last line of what Ray, or the network, says."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error).strip()
    return printable((said or type(error).__name__).splitlines()[-1])
