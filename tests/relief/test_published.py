"""The published generator on its window of the texture."""

import cv2
import numpy as np
from torch import nn

from mesoface.relief.published import FULL_SCALE_MM, published_height


class Brightness(nn.Module):
    """Answers with the red channel, and remembers what it saw."""

    def forward(self, maps):
        self.seen = maps
        return maps[:, :1]


def test_the_answer_lies_where_its_texture_was():
    """Window of a texture of 1024²: rows 12 to 961, columns 38 to 987."""
    y, x = np.mgrid[:1024, :1024].astype(np.float32)
    color = np.repeat((0.5 + 0.4 * np.sin(x / 60) * np.cos(y / 45))[..., None], 3, -1).astype(np.float32)
    network = Brightness()
    height = published_height(color, 1024, network, "cpu")
    assert network.seen.shape == (1, 3, 1024, 1024)
    expected = (color[..., 0] * 2 - 1) * FULL_SCALE_MM
    inside = np.zeros((1024, 1024), bool)
    inside[12:962, 38:988] = True
    assert not height[~inside].any()
    core = cv2.erode(inside.astype(np.uint8), np.ones((5, 5))) > 0
    np.testing.assert_allclose(height[core], expected[core], atol=2e-3)


def test_other_sizes_are_the_same_map():
    color = np.full((256, 256, 3), 0.75, np.float32)
    height = published_height(color, 512, Brightness(), "cpu")
    assert height.shape == (512, 512)
    np.testing.assert_allclose(height[20:-40, 30:-30], 0.5 * FULL_SCALE_MM, atol=1e-4)
