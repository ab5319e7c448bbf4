"""Flat colours, greys and edges, with a random network that keeps none of them by itself."""

import numpy as np
import pytest

from srgan import Upscaler
from srgan.model.weights import Weights
from srgan.upscale import tile_plan
from srgan.upscale.openvino import OpenVinoEngine
from srgan.upscale.tiled import ArrayRegions, write_to_array

COLOURS = [(255, 255, 255), (0, 0, 0), (0, 255, 0), (13, 200, 99)]


@pytest.fixture(scope="module")
def upscaler(small: Weights) -> Upscaler:
    return Upscaler(small)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize(("dtype", "peak"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1.0)])
@pytest.mark.parametrize("scale", [4, 3])
def test_flat_colours_stay(upscaler, dtype, peak, scale):
    for colour in (*COLOURS, 77):
        lr = (np.full((20, 24, *np.shape(colour)), colour) / 255 * peak).astype(dtype)
        difference = np.abs(upscaler.upscale(lr, scale=scale).astype(float) - lr[0, 0])
        assert difference.max() <= peak / 255


def test_flat_ground_around_content(upscaler, small):
    """The ground stays, the content is the network's, and between them the network fades without a step."""
    lr = np.full((24, 40, 3), COLOURS[-1], np.uint8)
    lr[:, :12] = noise(24, 12, 3)
    lr_unit = np.ascontiguousarray(lr.transpose(2, 0, 1))[None] / np.float32(255)
    network = ((OpenVinoEngine(small).run(lr_unit)[0].transpose(1, 2, 0) + 1) * 127.5).clip(0, 255)
    inside = slice(4 * 10, -4 * 10)  # rows that no edge reaches
    off = [np.abs(image[inside] - COLOURS[-1]).mean((0, 2)) for image in (network, upscaler.upscale(lr).astype(float))]
    share = (off[1] / off[0])[4 * 10 : -4 * 10]
    assert np.abs(share[: 4 * 3] - 1).max() < 0.05 and share[4 * 11 :].max() < 0.05
    assert np.abs(np.diff(share)).max() < 0.12


def test_slow_gradient_stays_smooth(upscaler):
    ramp = np.repeat(np.arange(10, 26, dtype=np.uint8), 8)
    sr = upscaler.upscale(np.tile(ramp[:, None], (24, 1, 3))).astype(int)
    assert np.abs(np.diff(sr, axis=1)).max() <= 1 and np.ptp(sr, axis=0).max() <= 1


def test_grey_stored_as_colour_is_grey(upscaler):
    grey = noise(20, 26)
    sr = upscaler.upscale(np.repeat(grey[..., None], 3, axis=2))
    assert (sr == upscaler.upscale(grey)[..., None]).all()


def test_grey_part_of_a_colour_image(upscaler):
    lr = noise(20, 60, 3)
    lr[:, 30:] = lr[:, 30:, :1]
    sr = upscaler.upscale(lr)
    assert (np.ptp(sr[:, 4 * 38 :], axis=2) == 0).all() and np.ptp(sr[:, : 4 * 30], axis=2).max() > 20
    assert (sr[:, 4 * 45 :] == upscaler.upscale(lr[..., 1])[:, 4 * 45 :, None])[:, :60].mean() > 0.99


def test_tiles_of_flat_and_grey_parts_equal_whole(upscaler, small):
    lr = noise(70, 60, 3)
    lr[5:40, 10:50], lr[40:] = COLOURS[-1], lr[40:, :, :1]
    tiled = Upscaler(small, memory="2MB")
    sr = np.empty((280, 240, 3), np.uint8)
    assert tiled.upscale_into(ArrayRegions(lr), write_to_array(sr))["tiles"] != "1x1"
    difference = np.abs(sr.astype(int) - upscaler.upscale(lr))
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-4


@pytest.mark.parametrize("shape", [(20, 26, 3), (1, 1), (2, 9, 3)])
@pytest.mark.parametrize("scale", [4, 2])
def test_edges_continue_the_mirrored_image(upscaler, shape, scale):
    """As if the image had a mirrored border, however small it is; the random network sees 10 pixels, the border has 8."""
    lr, pad = noise(*shape), tile_plan.BORDER
    wide = np.pad(lr, ((pad, pad), (pad, pad), (0, 0))[: lr.ndim], "symmetric")
    expected = upscaler.upscale(wide, scale=scale)[scale * pad : -scale * pad, scale * pad : -scale * pad]
    assert np.abs(upscaler.upscale(lr, scale=scale).astype(int) - expected).max() <= 8
