"""The table's rows and the JSON document: the paper's numbers, other image sets, no NaN."""

import json
import math
from typing import Any

from srgan.evaluate.scoring import SetScores
from srgan.evaluate.table import PAPER, Table, to_json, warnings
from srgan.image.metrics import Scores

ONE = Scores(psnr_y=28.4302, psnr_rgb=26.5, ssim_wang=0.8111, ssim_daala=0.8211, niqe=None)


def keys(value: Any) -> Any:
    return {name: keys(below) for name, below in value.items()} if isinstance(value, dict) else None


def test_long_name_widens_the_table():
    table = Table(["a" * 60])
    row = table.row("a" * 60, ONE)
    lines = [table.header(), row, *table.bicubic_rows("Set5", ONE), *table.mean_rows("Set5", ONE)]
    assert len({len(line) for line in lines}) == 1 and len(lines[0]) > 120


def test_set_outside_the_paper():
    table, scores = Table(["a"]), SetScores(mean=ONE, images={"a": ONE})
    assert len(table.bicubic_rows("Kodak24", ONE)) == len(table.mean_rows("Kodak24", ONE)) == 1
    assert to_json({"name": "x"}, {"Kodak24": (scores, scores)})["sets"]["Kodak24"]["paper"] is None


def test_other_images_than_the_papers_are_noted():
    assert warnings("Set5", 5, ONE) == [] == warnings("Kodak24", 3, ONE)
    assert "here are 4" in warnings("Set5", 4, ONE)[0]
    assert "should give 25.9970 dB and gives 28.4302" in warnings("Set14", 14, ONE)[0]


def test_shape_of_the_document():
    scores = SetScores(mean=ONE, images={"img_001": ONE})
    document = to_json({"name": "m"}, {"Set5": (scores, scores)})
    numbers = dict.fromkeys(("psnr_y", "psnr_rgb", "ssim_wang", "ssim_daala", "niqe"))
    entry = {"mean": numbers, "pictures": {"img_001": numbers}}
    paper = {method: keys(PAPER["Set5"][method]) for method in ("srresnet", "srgan")}
    assert keys(document) == {
        "protocol": None,
        "model": {"name": None},
        "sets": {"Set5": {"count": None, **entry, "bicubic": entry, "paper": paper}},
    }
    assert document["sets"]["Set5"]["mean"]["niqe"] is None and document["sets"]["Set5"]["count"] == 1


def test_nan_and_infinity():
    odd = Scores(psnr_y=math.inf, psnr_rgb=-math.inf, ssim_wang=1.0, ssim_daala=math.nan, niqe=math.nan)
    scores = SetScores(mean=odd, images={"a": odd})
    text = json.dumps(to_json({"name": "x"}, {"Set5": (scores, scores)}), allow_nan=False)
    expected = {"psnr_y": "inf", "psnr_rgb": "-inf", "ssim_wang": 1.0, "ssim_daala": None, "niqe": None}
    assert json.loads(text)["sets"]["Set5"]["pictures"]["a"] == expected
