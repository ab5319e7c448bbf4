from __future__ import annotations

import re
import threading

from srgan.serve.counters import BUCKETS, Counters

LINE = re.compile(r'[a-z_]+(\{[a-z]+="[^"]*"(,[a-z0-9]+="[^"]*")*\})? [0-9.e+]+')


def value(text: str, name: str) -> float:
    [line] = [line for line in text.splitlines() if line.startswith(name + " ")]
    return float(line.rpartition(" ")[2])


def test_what_was_counted_is_in_the_text() -> None:
    counters = Counters(about={"version": "1.0", "model": "srgan"})
    for status in (200, 200, 429):
        counters.request("/v1/upscale", status)
    counters.add("pictures", 2)
    text = counters.text({"srgan_jobs_waiting": 3})
    assert value(text, 'srgan_http_requests_total{route="/v1/upscale",status="200"}') == 2
    assert value(text, 'srgan_http_requests_total{route="/v1/upscale",status="429"}') == 1
    assert value(text, "srgan_pictures_total") == 2
    assert value(text, "srgan_jobs_waiting") == 3
    assert value(text, "process_resident_memory_bytes") > 10e6


def test_buckets_are_cumulative_and_end_with_the_count() -> None:
    counters = Counters(about={})
    for seconds in (0.05, 0.2, 0.2, 7.0, 1e6):
        counters.observe("work", seconds)
    text = counters.text({})
    counts = [value(text, f'srgan_work_seconds_bucket{{le="{bound:g}"}}') for bound in BUCKETS]
    assert counts == sorted(counts)
    assert value(text, 'srgan_work_seconds_bucket{le="0.1"}') == 1
    assert value(text, 'srgan_work_seconds_bucket{le="0.25"}') == 3
    assert value(text, 'srgan_work_seconds_bucket{le="10"}') == 4
    assert value(text, 'srgan_work_seconds_bucket{le="+Inf"}') == 5 == value(text, "srgan_work_seconds_count")
    assert abs(value(text, "srgan_work_seconds_sum") - 1000007.45) < 1e-3


def test_every_line_is_of_the_format_and_every_metric_has_its_type_once() -> None:
    counters = Counters(about={"version": 'a"b\\c\nd'})
    counters.request("/", 200)
    counters.observe("wait", 0.3)
    lines = counters.text({"srgan_draining": 0}).splitlines()
    types = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(types) == len(set(types))
    assert r'version="a\"b\\c\nd"' in lines[1]
    for line in lines[2:]:
        assert line.startswith("# TYPE") or LINE.fullmatch(line), line


def test_counts_of_several_threads_add_up() -> None:
    counters = Counters(about={})
    threads = [threading.Thread(target=lambda: [counters.request("/x", 200) for _ in range(2000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(counters.text({}), 'srgan_http_requests_total{route="/x",status="200"}') == 8000
