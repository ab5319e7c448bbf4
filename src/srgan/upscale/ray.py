"""`srgan upscale --ray`: a list of images, distributed by Ray Data to the actors of a cluster."""

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
import traceback
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
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
Row = tuple[UpscaleTask | None, Exception | None, list[str]]
"""An image, why it failed, messages for the user. Without an image: why this actor can do none."""


class StopFlag:
    """Knows which actors are busy, and whether all should stop; itself an actor, one in a run."""

    def __init__(self) -> None:
        self._busy: set[str] = set()
        self._stopped = False

    def may_continue(self, actor: str) -> bool:
        """Whether this actor may begin, or continue; if so, it counts as busy."""
        if not self._stopped:
            self._busy.add(actor)
        return not self._stopped

    def leave(self, actor: str) -> None:
        """This actor has finished what it began, or removed it."""
        self._busy.discard(actor)

    def stop(self) -> int:
        """Ask all to stop; returns how many are still busy."""
        self._stopped = True
        return len(self._busy)


class StopCheck:
    """Called with progress: stops the batch, as Ctrl-C does, when the stop flag is set; asks once a second."""

    INTERVAL = 1.0

    def __init__(self, may_continue: Callable[[], bool]) -> None:
        self._may_continue, self._last_check = may_continue, time.monotonic()

    def __call__(self, done: float, task: UpscaleTask) -> None:
        """Raise KeyboardInterrupt when the actor should stop."""
        if time.monotonic() - self._last_check >= self.INTERVAL:
            self._last_check = time.monotonic()
            if not self._may_continue():
                raise KeyboardInterrupt


class MessageCollector(logging.Handler):
    """Collects an actor's warnings, for the driver to log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        self._messages.append(record.getMessage())

    def take(self) -> list[str]:
        """The messages since the last call."""
        messages, self._messages = self._messages, []
        return messages


class Actor:
    """One engine; each call upscales a part of the list."""

    def __init__(
        self, stop_flag: Any, upscaler_arguments: Mapping[str, Any], options: FileOptions, folder: Path
    ) -> None:
        import ray

        self._get, self._stop_flag, self._name = ray.get, stop_flag, ray.get_runtime_context().get_actor_id()
        self._upscaler_arguments, self._options, self._folder = upscaler_arguments, options, folder
        self._messages = MessageCollector()
        log.addHandler(self._messages)

    def __call__(self, part: Mapping[str, Any]) -> dict[str, list[bytes]]:
        """{"task": pickled tasks} -> {"row": pickled rows}."""
        rows: list[Row] = [(None, None, [])]
        if self._may_continue():
            try:
                rows = self._upscale([pickle.loads(task) for task in part["task"]])
            except KeyboardInterrupt:
                pass  # the stop flag
            except (SrganError, ModuleNotFoundError) as error:
                rows = [(None, error, [])]
            except Exception:
                rows = [(None, RuntimeError(traceback.format_exc()), [])]
            finally:
                self._get(self._stop_flag.leave.remote(self._name))
        return {"row": [pickle.dumps(row) for row in rows]}

    def _may_continue(self) -> bool:
        return bool(self._get(self._stop_flag.may_continue.remote(self._name)))

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

    def _upscale(self, tasks: Sequence[UpscaleTask]) -> list[Row]:
        # What exists was finished before an actor died.
        todo = [task for task in tasks if self._options.overwrite or not task.target.exists()]
        failures: dict[UpscaleTask, SrganError] = {}
        upscaler = self._upscaler
        if todo:
            check = StopCheck(self._may_continue)
            failures = upscale_files(upscaler, todo, self._options, on_done=lambda path: None, on_progress=check)
        messages = [self._messages.take(), *([] for _ in tasks[1:])]
        return [(task, failures.get(task), lines) for task, lines in zip(tasks, messages, strict=True)]


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
) -> dict[UpscaleTask, SrganError]:
    """Upscale all files by `Upscaler(**upscaler_arguments)` in each actor; returns those that failed, and why.

    `on_done` is called with each finished file. Raises what `Upscaler` raises, and UsageError where Ray cannot be
    reached or stops.
    """
    ray = _connect(address)
    pending = {task.target: task for task in tasks}
    failures: dict[UpscaleTask, SrganError] = {}
    logged: set[str] = set()
    engine, precision = upscaler_arguments["engine"], upscaler_arguments["precision"]
    gpu = engine == "pytorch" or (engine == "auto" and precision not in ("fp32", "int8"))
    try:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        count, resources = actors_and_resources(nodes, actors, gpu=gpu)
        threads = int(resources["num_cpus"]) if "num_cpus" in resources else None
        arguments = {
            "upscaler_arguments": {**upscaler_arguments, "threads": threads},
            "options": options,
            "folder": Path.cwd(),
        }
        # In parts first; then one by one what died with its actor.
        for part in (max(1, min(MAX_PART, len(tasks) // (8 * count))), 1):
            with contextlib.closing(_rows(ray, list(pending.values()), part, count, resources, arguments)) as rows:
                for task, error, messages in rows:
                    for message in messages:
                        if message not in logged:
                            logged.add(message)
                            log.warning(message)
                    if task is None and error is not None:
                        raise error
                    if task is None or pending.pop(task.target, None) is None:
                        continue
                    if isinstance(error, SrganError):
                        failures[task] = error
                    else:
                        on_done(task.target)
            if not pending:
                break
    except ray.exceptions.RayError as error:
        raise UsageError(f"Ray stopped: {_last_line(error)}") from error
    finally:
        ray.shutdown()
    for task in pending.values():
        reason = f"{printable(task.source)}: every actor that was given it died, for example for lack of memory."
        failures[task] = ImageError(reason)
    return failures


def _connect(address: str) -> Any:
    os.environ.update(_ENVIRONMENT)
    if address != "local":  # a cluster that is gone would be asked for many minutes
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")
    import ray
    import ray.data

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


def _rows(
    ray: Any,
    tasks: Sequence[UpscaleTask],
    part: int,
    actors: int,
    resources: Mapping[str, float],
    arguments: Mapping[str, Any],
) -> Generator[Row]:
    """The actors' rows as they come. Ray Data runs in another thread, because it kills the actors when interrupted.

    When closed early, it waits until the actors have removed what they began.
    """
    # Ray Data over the pickled tasks, with the actors as its pool.
    quiet = not log.isEnabledFor(logging.INFO)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = not quiet
    context.enable_rich_progress_bars, context.use_ray_tqdm = True, False  # bars of what is installed
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR if quiet else logging.INFO)
    context.max_errored_blocks = -1  # of an actor that died too often; what it had stays pending
    stop_flag = ray.remote(num_cpus=0)(StopFlag).remote()
    parts = -(-len(tasks) // part)
    dataset = ray.data.from_items([{"task": pickle.dumps(task)} for task in tasks], override_num_blocks=parts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # max_task_retries has no other way in, and Ray 2.64 warns about this one
        dataset = dataset.map_batches(
            Actor,
            fn_constructor_kwargs={**arguments, "stop_flag": stop_flag},
            batch_size=len(tasks) // parts,
            compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=1),
            max_task_retries=RETRIES,
            **resources,
        )
    # A thread that reads the rows; None is the end.
    rows: queue.SimpleQueue[Any] = queue.SimpleQueue()
    stopped = threading.Event()

    def read() -> None:
        try:
            for row in dataset.iter_rows():
                rows.put(pickle.loads(row["row"]))
                if stopped.is_set():
                    break
            rows.put(None)
        except BaseException as error:
            rows.put(error)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while (row := rows.get()) is not None:
            if isinstance(row, BaseException):
                raise row
            yield row
    finally:
        end = time.monotonic() + CLEANUP_SECONDS
        while reader.is_alive() and ray.get(stop_flag.stop.remote()) and time.monotonic() < end:
            time.sleep(0.1)
        stopped.set()
        reader.join(CLEANUP_SECONDS / 6)


def _last_line(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error).strip()
    return printable((text or type(error).__name__).splitlines()[-1])
