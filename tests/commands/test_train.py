"""`srgan train --fetch`: from an empty folder to a report, killed at every stage once (issue 6)."""

import json
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from srgan.data.catalogue import CATALOGUE, Dataset, pixel_digest
from srgan.image import resize
from tests.data.servers import Site, serving
from tests.data.test_fetch import place_div2k, png
from tests.support import scene
from tests.train.small import SMALL

_DRIVER = """
import importlib, json, os, pathlib, pickle, signal, sys
from srgan.data import catalogue, fetch
fetch.CATALOGUE = pickle.loads(pathlib.Path("table.pickle").read_bytes())
catalogue.DIGESTS.update(json.loads(sys.argv[1]))
where, count = sys.argv[2], int(sys.argv[3])
if count:
    module, _, name = where.rpartition(".")
    home = importlib.import_module(module)
    real, calls = getattr(home, name), []
    def deadly(*args, **options):
        calls.append(1)
        if len(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **options)
    setattr(home, name, deadly)
from srgan.cli import main
sys.exit(main(sys.argv[4:]))
"""

KILLS = (
    ("srgan.data.fetch.download", 3),
    ("srgan.data.fetch._verify", 2),
    ("srgan.data.check.check", 1),
    ("srgan.data.packed._decode", 2),
    ("srgan.train.checkpoints.write", 2),
    ("srgan.train.checkpoints.write", 4),
    ("srgan.commands.evaluate.main", 2),
    ("srgan.report.report.write", 1),
)


def _test_set(site: Site, tmp_path: Path, name: str, seed: int) -> tuple[Dataset, str]:
    """A test set of one picture, and its digest."""
    known = CATALOGUE[name]
    hr = resize.cropped(scene(seed))
    for kind, pixels in (("HR", hr), ("LR", resize.downscaled(hr))):
        site.files[f"/{known.title}/image_SRF_4/img_001_SRF_4_{kind}.png"] = png(pixels, tmp_path)
    local = tuple(replace(d, urls=(site.url(f"/{d.name}"),), count=1) for d in known.files)
    return replace(known, files=local), pixel_digest([hr])


@pytest.mark.slow
def test_killed_at_every_stage_and_finished(data, tmp_path, monkeypatch):
    with serving() as site:
        table = {"div2k": place_div2k(site, tmp_path)}
        known_digests = {}
        for seed, name in enumerate(("set5", "set14", "bsd100"), 200):
            table[name], known_digests[CATALOGUE[name].title] = _test_set(site, tmp_path, name, seed)
        site.files["/niqe.npz"] = (data / "niqe" / "niqe_pris_params.npz").read_bytes()
        niqe = replace(CATALOGUE["niqe"].files[0], urls=(site.url("/niqe.npz"),))
        table["niqe"] = replace(CATALOGUE["niqe"], files=(niqe,))
        (tmp_path / "table.pickle").write_bytes(pickle.dumps(table))
        environment = os.environ | {"no_proxy": "127.0.0.1"}
        options = [*SMALL, "--recipe", "div2k", "--fetch", "--data", "data", "--output", "run"]

        def attempt(where: str, count: int) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-c", _DRIVER, json.dumps(known_digests), where, str(count), *options]
            return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

        for where, count in KILLS:
            killed = attempt(where, count)
            assert killed.returncode == -signal.SIGKILL, f"{where}: {killed.returncode}\n{killed.stderr}"
        done = attempt("", 0)
        assert done.returncode == 0, done.stderr
    whole = [path for path, wanted in site.requests if path.endswith(".zip") and not wanted]
    assert len(whole) == len(set(whole)) == 4, "no archive was fetched from its start twice"
    run = tmp_path / "run"
    for name in ("srresnet.safetensors", "srgan.safetensors", "evaluation.json", "report.html", "report.json"):
        assert (run / name).stat().st_size, name
    scores = json.loads((run / "evaluation.json").read_text())
    assert {model: sorted(found["sets"]) for model, found in scores.items()} == {
        model: ["BSD100", "Set14", "Set5"] for model in ("srresnet", "srgan")
    }
