"""The service behind the routes: image bytes and parameters in, the larger image's bytes out."""

import asyncio
import time
from collections.abc import Callable, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import prometheus_client as prometheus
from starlette.datastructures import QueryParams

from srgan import Upscaler, __version__
from srgan.errors import ImageError
from srgan.fs import printable
from srgan.image import files
from srgan.image.animation import Animation
from srgan.image.decode import is_animated
from srgan.image.encode import SUFFIX_OF
from srgan.image.source import ImageBytes, Limits, format_of, open_bytes
from srgan.image.tiff_tags import full_pages
from srgan.progress import OnProgress
from srgan.serve.http import LOCALLY, BodyReader
from srgan.serve.models import ModelPool, UpscaleParams
from srgan.serve.problems import Problem
from srgan.serve.queue import JobQueue, ServeLimits
from srgan.upscale.batch import FileOptions, upscale_file

SUFFIXES = {name: SUFFIX_OF[name] for name in ("png", "jpeg", "webp", "tiff", "avif")}
"""The formats of an answer, and their file endings."""
MEDIA_TYPES = {suffix: f"image/{kind}" for kind, suffix in SUFFIXES.items()}
SMALL_PIXELS = 128 * 128
"""LR pixels up to which an image has a queue of its own: previews never wait behind large images."""
YIELD_SECONDS = 1.0
"""Longest pause of a large image before a tile, for a small one at work."""
HEADERS = {
    "X-Srgan-Model": ("model", "The model's name."),
    "X-Srgan-Model-Sha256": ("sha256", "The hash of its weights."),
    "X-Srgan-Texture": ("texture", "The texture of a mixture."),
    "X-Srgan-Restore": ("restore", "The strength of its restoration."),
    "X-Srgan-Restore-Reason": ("restore_reason", "What the strength was chosen by."),
    "X-Srgan-Version": ("version", "The version of this package."),
    "X-Srgan-Engine": ("engine", "What computed it."),
    "X-Srgan-Precision": ("precision", "The precision of the computation."),
}
"""Headers of an image: the provenance's key, and what they mean."""
BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)

prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, kw_only=True)
class Upscaled:
    """A larger image's file, and the headers of its answer."""

    data: bytes
    media_type: str
    headers: dict[str, str]


class Service:
    """One process's models, limits, queues and metrics; raises Problem or SrganError."""

    def __init__(self, pool: ModelPool, limits: ServeLimits) -> None:
        self.pool, self.limits = pool, limits
        self.connections: Sized = ()  # the server's, once it runs
        self.image_limits = Limits(pixels=limits.pixels, name=f"--pixels of this service; {LOCALLY}")
        self.bodies = BodyReader(limit=limits.size, budget=limits.budget, patience=limits.patience)
        self.large = JobQueue(workers=limits.workers, size=limits.queue, seconds=limits.seconds, name="large")
        self.small = JobQueue(workers=1, size=limits.queue, seconds=limits.seconds, name="small")
        self.metrics = Metrics(self)

    @property
    def running(self) -> int:
        """Jobs at work."""
        return self.large.running + self.small.running

    def drain(self) -> None:
        """Finish the running jobs, refuse the rest."""
        self.large.drain()
        self.small.drain()

    def check(self, params: UpscaleParams, query: QueryParams) -> None:
        """Raise Problem 400 or 409 for a parameter that comes twice, and where the models on offer do not fit."""
        for name in query:
            if len(query.getlist(name)) > 1:
                raise Problem(400, "parameter", f"{name} comes {len(query.getlist(name))} times; send it once.")
        if (params.texture, params.restore) != ("auto", "auto"):
            if not self.pool.mixes:
                raise Problem(
                    409, "texture", "This service offers fixed models only: texture and restore mix packaged ones."
                )
            if params.model is not None:
                raise Problem(409, "texture", "texture and restore mix the packaged models, so they exclude 'model'.")
        if params.model is not None and params.model not in self.pool.names:
            raise Problem(400, "parameter", f"model must be one of {', '.join(self.pool.names)}.")

    async def upscale(
        self,
        source: ImageBytes,
        params: UpscaleParams,
        *,
        on_position: Callable[[int], None] = lambda before: None,
        on_start: Callable[[], None] = lambda: None,
        progress: OnProgress = lambda done, total: None,
    ) -> Upscaled:
        """The larger image; the worker's thread calls `on_start`, then `progress`."""
        # A damaged or too large image is refused by its header, without waiting.
        pixels = await asyncio.to_thread(count_pixels, source, self.image_limits)
        queue = self.small if pixels <= SMALL_PIXELS else self.large
        arrived = started = time.monotonic()

        def job(check: OnProgress) -> tuple[bytes, Path, dict[str, str]]:
            nonlocal started
            started = time.monotonic()

            def between_tiles(done: int, total: int) -> None:
                check(done, total)
                progress(done, total)
                end = time.monotonic() + YIELD_SECONDS
                while queue is self.large and self.small.running and time.monotonic() < end:
                    time.sleep(0.01)

            on_start()
            return upscale_bytes(self.pool.upscaler(params, queue.name), source, pixels, params, between_tiles)

        data, name, provenance = await queue.run(job, on_position=on_position)

        seconds = {"wait": started - arrived, "work": time.monotonic() - started}
        self.metrics.images.inc()
        for what, value in seconds.items():
            self.metrics.seconds[what].observe(value)
        return Upscaled(data=data, media_type=MEDIA_TYPES[name.suffix], headers=_headers(provenance, seconds, name))


def count_pixels(source: ImageBytes, limits: Limits) -> int:
    """Pixels of the image, or of all frames or pages, from the headers. Raises ImageError above the limit."""
    if is_animated(source, limits):
        frames = Animation(source, limits)
        sizes = [frames.height * frames.width] * frames.count
    else:
        height, width = files.size(source, limits=limits)
        sizes = [height * width]
        if format_of(source) == "TIFF":
            with open_bytes(source) as file:
                sizes = list(full_pages(file).values()) or sizes
    if sum(sizes) > limits.pixels:
        raise ImageError(
            f"{printable(source.name)} has {len(sizes)} frames or pages, {sum(sizes):,} pixels in all; "
            f"the limit is {limits.pixels:,} ({limits.name})."
        )
    return sum(sizes)


def upscale_bytes(
    upscaler: Upscaler, source: ImageBytes, pixels: int, params: UpscaleParams, progress: OnProgress
) -> tuple[bytes, Path, dict[str, str]]:
    """The bytes that `srgan upscale` writes, the name of the file, and its provenance. Raises ImageError."""
    with files.memory_folder(16 * params.scale**2 * pixels) as folder:
        unnamed = ImageBytes(data=source.data, name="image")
        suffix = SUFFIXES[params.format] if params.format else files.result_suffix(unnamed)
        name = Path(_safe(f"{Path(source.name).stem}_x{params.scale}{suffix}"))
        options = FileOptions(scale=params.scale, provenance=params.provenance, alpha=params.alpha)
        provenance = upscale_file(upscaler, source, folder / name, options, progress)
        return (folder / name).read_bytes(), name, provenance


def _safe(name: str) -> str:
    """The end of somebody else's name, as a file and a header may have it."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name)[-100:]


def _headers(provenance: dict[str, str], seconds: dict[str, float], name: Path) -> dict[str, str]:
    return {
        **{header: provenance[key] for header, (key, _) in HEADERS.items() if key in provenance},
        "Server-Timing": ", ".join(f"{what};dur={1000 * value:.1f}" for what, value in seconds.items()),
        "Content-Disposition": f'inline; filename="{name}"',
        "Cache-Control": "no-store",
    }


class Metrics:
    """What /metrics shows, in a registry of its own."""

    def __init__(self, service: Service) -> None:
        self.registry = registry = prometheus.CollectorRegistry()
        about: dict[str, Any] = {"registry": registry}
        prometheus.Info("srgan", "Version and default model.", **about).info(
            {"version": __version__, "model": service.pool.default}
        )
        self.requests = prometheus.Counter(
            "srgan_http_requests", "Requests; status 499: the client left.", ["route", "status"], **about
        )
        self.images = prometheus.Counter("srgan_pictures", "Images upscaled.", **about)
        self.seconds = {
            name: prometheus.Histogram(f"srgan_{name}_seconds", f"Seconds of {name}.", buckets=BUCKETS, **about)
            for name in ("wait", "work")
        }
        for name, value in {
            "srgan_jobs_running": lambda: service.running,
            "srgan_jobs_waiting": lambda: service.large.waiting + service.small.waiting,
            "srgan_request_bytes_held": lambda: service.bodies.held,
            "srgan_draining": lambda: service.large.draining,
        }.items():
            prometheus.Gauge(name, "At this moment.", **about).set_function(value)
        prometheus.ProcessCollector(registry=registry)

    def text(self) -> bytes:
        """Prometheus' text format 0.0.4."""
        return prometheus.generate_latest(self.registry)
