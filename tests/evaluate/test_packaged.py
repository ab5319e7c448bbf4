"""The packaged models score what the documents say."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from srgan import Upscaler, cli
from srgan.data.folders import validation_pairs
from srgan.image import files, resize
from srgan.model import weights

ROOT = Path(__file__).resolve().parents[2]
SETS = ("Set5", "Set14")


def said(document: Path, row: str, cells: tuple[str, ...]) -> dict[str, float]:
    """psnr_y by set, from the first row of the document's tables that begins with `row`."""
    text = document.read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith(row))
    numbers = [float(number) for number in re.findall(r"\b\d\d\.\d\d\b", line)]
    return dict(zip(cells, numbers, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["srresnet", "srgan"])
def test_the_tables_are_what_evaluate_prints(name, data, tmp_path):
    arguments = ["evaluate", "--model", name, "--data", str(data), "--json", str(tmp_path / "scores.json")]
    assert cli.main([*arguments, "--sets", *SETS, "--quiet"]) == 0
    sets = json.loads((tmp_path / "scores.json").read_text())["sets"]
    measured = {each: sets[each]["mean"] for each in SETS}
    results = said(ROOT / "docs" / "results.md", f"| **{name}** |", ("Set5", "Set14", "BSD100"))
    readme = said(ROOT / "README.md", f"| **`{name}`**", ("Set5", "Set14", "BSD100"))
    inside = json.loads(weights.read(name).metadata["scores"])
    for each in SETS:
        assert measured[each]["psnr_y"] == pytest.approx(results[each], abs=0.02)
        assert measured[each]["psnr_y"] == pytest.approx(readme[each], abs=0.02)
        for score, value in measured[each].items():
            assert value == pytest.approx(inside[each][score], abs=0.001), (each, score)


@pytest.mark.parametrize("name", ["srresnet", "srgan"])
def test_no_tint(name, data):
    """Made small again, a picture has the mean colour that it had: a sum of weights once moved it by 1.8 levels of green."""
    upscaler, moved = Upscaler(name, engine="openvino", precision="fp32"), []
    for pair in validation_pairs(data)[::6]:
        lr = resize.downscaled(resize.cropped(files.read_rgb8(pair.hr))[:384, :384])
        moved.append((resize.downscaled(upscaler.upscale(lr)) - lr.astype(np.float64)).mean((0, 1)))
    assert np.abs(np.mean(moved, axis=0)).max() < 0.6
