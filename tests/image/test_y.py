from __future__ import annotations

import numpy as np
import pytest

from srgan.image.metrics import y_from_image, y_from_rgb


@pytest.mark.parametrize(
    ("rgb", "y"),
    [
        ((0, 0, 0), 16.0),
        ((255, 255, 255), 235.0),
        ((255, 0, 0), 81.481),
        ((0, 255, 0), 144.553),
        ((0, 0, 255), 40.966),
        ((1, 0, 0), 16 + 65.481 / 255),
    ],
)
def test_known_colours_unrounded(rgb: tuple[int, int, int], y: float) -> None:
    result = y_from_rgb(np.full((2, 3, 3), rgb, np.uint8))
    assert result.shape == (2, 3) and result.dtype == np.float64
    np.testing.assert_allclose(result, y, rtol=0, atol=1e-12)


def test_a_grey_picture_is_its_own_y_and_the_same_grey_in_rgb_is_not() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(y_from_image(grey), grey.astype(np.float64))
    scaled = y_from_image(np.repeat(grey[..., None], 3, axis=2))
    np.testing.assert_allclose(scaled, 16 + grey * (219 / 255))
