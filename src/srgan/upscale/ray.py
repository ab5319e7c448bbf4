"""`srgan upscale --ray`: a list of images, distributed to the actors of a Ray cluster."""

import logging
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from srgan.errors import ImageError, SrganError, UsageError
from srgan.fs import printable
from srgan.upscale.batch import FileOptions, upscale_files
from srgan.upscale.inputs import UpscaleTask
from srgan.upscale.upscaler import Upscaler

log = logging.getLogger("srgan")

CPUS_PER_ACTOR = 4
"""Where a node has so many: several engines of few threads do more than one of many."""
MAX_PART = 32
"""Images given to an actor at a time; Ray tries them again when the actor dies."""
RETRIES = 3
"""Of a part, by Ray; then each of its images is tried alone, so that one that kills every actor fails alone."""
CLEANUP_SECONDS = 60.0
"""Time that actors have for removing what they began, when the command is stopped."""
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no telemetry
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # under `uv run` Ray would copy the working folder to every node
    "RAY_ENABLE_AUTO_CONNECT": "0",  # no second Ray for calls after the end
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # Ray's internals stay off stderr
}


class Actor:
    """One engine; each call of `upscale` takes a part of the list."""

    def __init__(self, upscaler_arguments: Mapping[str, Any], options: FileOptions, folder: Path) -> None:
        self._upscaler_arguments, self._options, self._folder = upscaler_arguments, options, folder
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Let `upscale`, in another thread, remove what it began and return."""
        self._stopped.set()

    def upscale(self, tasks: Sequence[UpscaleTask]) -> tuple[list[SrganError | None], list[str]]:
        """Why each image failed, and the warnings for the user. Raises what `Upscaler` raises."""
        failures: dict[UpscaleTask, SrganError] = {}
        warnings = _Warnings()
        log.addHandler(warnings)
        try:
            upscaler = self._upscaler
            # What exists was finished before an actor died.
            todo = [task for task in tasks if self._options.overwrite or not task.target.exists()]
            if todo:
                failures = upscale_files(
                    upscaler, todo, self._options, on_done=lambda path: None, on_progress=self._check
                )
        except KeyboardInterrupt:
            pass  # `stop`
        finally:
            log.removeHandler(warnings)
        return [failures.get(task) for task in tasks], warnings.messages

    def _check(self, done: float, task: UpscaleTask) -> None:
        if self._stopped.is_set():
            raise KeyboardInterrupt

    @cached_property
    def _upscaler(self) -> Upscaler:
        try:
            os.chdir(self._folder)
        except OSError as error:
            raise UsageError(
                f"a node of the cluster cannot enter {printable(self._folder)} ({error.strerror}); "
                "start in a folder that all nodes share."
            ) from None
        return Upscaler(**self._upscaler_arguments)


class _Warnings(logging.Handler):
    """Collects an actor's warnings, for the driver to log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def actors_and_resources(
    nodes: Sequence[Mapping[str, float]], actors: int | None, *, gpu: bool
) -> tuple[int, dict[str, float]]:
    """The number of actors on nodes with these resources ("CPU", "GPU"), and what Ray reserves for each.

    A GPU each, or a part of one where more actors are asked for. Without GPUs 4 CPUs each, or the largest equal number
    of CPUs with which the asked number of actors fits, none across two nodes.
    """
    gpus = int(sum(node.get("GPU", 0) for node in nodes)) if gpu else 0
    if gpus:
        return actors or gpus, {"num_gpus": 1 / -(-(actors or gpus) // gpus)}
    cpus = [int(node.get("CPU", 0)) for node in nodes]
    largest = max([1, *cpus])
    if actors is None:
        each = min(CPUS_PER_ACTOR, largest)
        return max(1, sum(count // each for count in cpus)), {"num_cpus": each}
    fitting = (each for each in range(largest, 1, -1) if sum(count // each for count in cpus) >= actors)
    return actors, {"num_cpus": next(fitting, 1)}


def upscale_on_ray(
    tasks: Sequence[UpscaleTask],
    upscaler_arguments: Mapping[str, Any],
    options: FileOptions,
    *,
    address: str,
    actors: int | None,
    on_done: Callable[[Path], None],
    on_progress: Callable[[int], None],
) -> dict[UpscaleTask, SrganError]:
    """Upscale all files by `Upscaler(**upscaler_arguments)` in each actor; returns those that failed, and why.

    `on_done` is called with each finished file, `on_progress` with the number of images that are done or have failed.
    Raises what `Upscaler` raises, and UsageError where Ray cannot be reached or stops.
    """
    ray = _connect(address)
    engine, precision = upscaler_arguments["engine"], upscaler_arguments["precision"]
    gpu = engine == "pytorch" or (engine == "auto" and precision not in ("fp32", "int8"))
    failures: dict[UpscaleTask, SrganError] = {}
    logged: set[str] = set()
    running: dict[Any, tuple[Any, Sequence[UpscaleTask]]] = {}
    try:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        count, resources = actors_and_resources(nodes, actors, gpu=gpu)
        arguments = {**upscaler_arguments, "threads": resources.get("num_cpus")}
        remote = ray.remote(max_concurrency=2, max_restarts=-1, max_task_retries=RETRIES, **resources)(Actor)
        size = max(1, min(MAX_PART, len(tasks) // (8 * count)))
        parts = deque(tasks[start : start + size] for start in range(0, len(tasks), size))
        # An empty part at first: where a cluster is busy, some actors may start late, or never.
        for actor in [remote.remote(arguments, options, Path.cwd()) for _ in range(count)]:
            running[actor.upscale.remote([])] = actor, []
        left = len(tasks)
        while left:
            (answer, *_), _ = ray.wait(list(running))
            actor, part = running.pop(answer)
            try:
                errors, messages = ray.get(answer)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except ray.exceptions.RayError:  # the actor died too often
                reason = "every actor that was given it died, for example for lack of memory."
                errors, messages = [ImageError(f"{printable(task.source)}: {reason}") for task in part], []
                if len(part) > 1:
                    parts.extend([task] for task in part)
                    part = []
            if parts:
                following = parts.popleft()
                running[actor.upscale.remote(following)] = actor, following
            # What the part was.
            for message in messages:
                if message not in logged:
                    logged.add(message)
                    log.warning(message)
            for task, fault in zip(part, errors, strict=False):
                if fault is None:
                    on_done(task.target)
                else:
                    failures[task] = fault
            left -= len(part)
            on_progress(len(tasks) - left)
    except ray.exceptions.RayError as error:
        raise UsageError(f"Ray stopped: {_last_line(error)}") from error
    finally:
        busy = {answer: actor for answer, (actor, part) in running.items() if part}
        for actor in busy.values():
            actor.stop.remote()
        if busy:
            ray.wait(list(busy), num_returns=len(busy), timeout=CLEANUP_SECONDS)
        ray.shutdown()
    return failures


def _connect(address: str) -> Any:
    os.environ.update(_ENVIRONMENT)
    if address != "local":  # a cluster that is gone would be asked for many minutes
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")
    import ray

    handler = signal.getsignal(signal.SIGTERM)  # Ray replaces it by its own
    dashboard = False if address == "local" else None
    attempts = 3 if address == "local" else 1  # a busy machine may need longer than the 15 s that Ray waits for itself
    for left in reversed(range(attempts)):
        try:
            if ":" in address:
                host, _, port = address.rpartition(":")
                socket.create_connection((host.strip("[]"), int(port)), 10).close()  # Ray would try for many minutes
            ray.init(address, include_dashboard=dashboard, log_to_driver=False, logging_level=logging.ERROR)
            break
        except Exception as error:  # Ray raises many types
            if not left:
                raise UsageError(f"no Ray answers at {printable(address)}: {_last_line(error)}") from error
        finally:
            signal.signal(signal.SIGTERM, handler)
    return ray


def _last_line(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error).strip()
    return printable((text or type(error).__name__).splitlines()[-1])
