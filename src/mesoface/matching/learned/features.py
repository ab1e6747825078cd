"""What the learned matcher looks up in a photo: contrast, free of exposure and shading, and its features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mesoface.files.images import LUMA

# Features: pixels at the scale of the level (1.5 of them on a texel) of the neighbourhood that contrast is
# relative to. It varies slowly, so it is computed at 1 / _SHRINK of the resolution.
_SURROUNDINGS, _SHRINK = 6.0, 4
# Brightness below which contrast fades: it would be noise.
_DARK = 0.03
# Contrast, relative to the local mean, that a texture must have to count.
_FAINT = 0.01
# Contrast of skin is a few per cent: this brings it to the order of one.
_GAIN = 20.0


def gaussian_blur(x: Tensor, sigma: float) -> Tensor:
    """(H, W, C) blurred along H and W, channel by channel; what lies beyond the edge does not count.

    Channels come last because the matcher's volumes lie so in memory, and torch convolves them fastest so.
    """
    radius = blur_radius(sigma)
    at = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-0.5 * (at / sigma) ** 2)
    channels = x.shape[-1]
    images = x.permute(2, 0, 1)[None]
    for shape, padding in (((-1, 1), (radius, 0)), ((1, -1), (0, radius))):
        weight = F.conv2d(torch.ones_like(images[:, :1]), kernel.view(1, 1, *shape), padding=padding)
        each = kernel.view(1, 1, *shape).expand(channels, 1, -1, -1)
        images = F.conv2d(images, each, padding=padding, groups=channels) / weight
    return images[0].permute(1, 2, 0)


def blur_radius(sigma: float) -> int:
    """Texels or pixels that :func:`gaussian_blur` reaches to either side."""
    return max(1, round(2.5 * sigma))


def local_mean(image: Tensor) -> Tensor:
    """(C, h, w) mean of the neighbourhood: about a Gaussian, at a quarter of the resolution."""
    height, width = image.shape[-2:]
    small = F.avg_pool2d(image[None], _SHRINK, ceil_mode=True, count_include_pad=False)
    small = gaussian_blur(small.permute(0, 2, 3, 1)[0], _SURROUNDINGS / _SHRINK).permute(2, 0, 1)[None]
    large = F.interpolate(small, scale_factor=float(_SHRINK), mode="bilinear", align_corners=False)
    return large[0, :, :height, :width]


def local_contrast(image: Tensor) -> tuple[Tensor, Tensor]:
    """What is left of a photo without exposure, white balance and slow shading.

    Args:
        image: (3, h, w) sRGB in [0, 1].

    Returns:
        (3, h, w) contrast relative to the surroundings, and (1, h, w) the luminance's, divided by its own
        local standard deviation.
    """
    mean = local_mean(image)
    contrast = (image - mean) / (mean + _DARK)
    weights = torch.tensor(LUMA, dtype=image.dtype, device=image.device)
    luminance = torch.einsum("c,chw->hw", weights, contrast)[None]
    variance = local_mean(luminance**2)
    return _GAIN * contrast, luminance * torch.rsqrt(variance + _FAINT**2)


class Features(nn.Module):
    """What is looked up in a photo: three 3 × 3 convolutions, the last one dilated.

    A photo's exposure, white balance and slow shading are divided out before the first convolution, and every
    group of a descriptor is brought to unit length after the last: structure is compared, whatever its
    brightness or strength. A group fades to zero where there is nothing but noise.

    Args:
        groups: parts of a descriptor that have unit length each.
        width: channels of a group.
        hidden: channels between the convolutions.
    """

    def __init__(self, groups: int = 4, width: int = 3, hidden: int = 16):
        super().__init__()
        self.groups, self.width = groups, width
        self.first = nn.Conv2d(3, hidden, 3, padding=1)
        self.second = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.third = nn.Conv2d(hidden, groups * width + 1, 3, padding=2, dilation=2)

    def forward(self, image: Tensor) -> Tensor:
        """Features of one photo.

        Args:
            image: (3, h, w) sRGB in [0, 1], at the scale of the level.

        Returns:
            (groups × width + 2, h, w): the descriptor, reliability in (0, 1), normalised contrast.
        """
        contrast, normalised = local_contrast(image)
        # Channels last in memory, for the convolutions and for the lookup after them.
        x = contrast.movedim(0, -1).contiguous()[None].movedim(-1, 1)
        x = F.relu_(self.first(x))
        x = x + F.relu_(self.second(x))
        out = self.third(x)[0].movedim(0, -1)
        descriptor = out[..., :-1].unflatten(-1, (self.groups, self.width))
        length = (descriptor * descriptor).sum(-1, keepdim=True)
        descriptor = (descriptor * torch.rsqrt(length + 1)).flatten(-2)
        reliability = torch.sigmoid(out[..., -1:] + 2)  # trusted at the start of training
        return torch.cat([descriptor, reliability, normalised.movedim(0, -1)], -1).movedim(-1, 0)
