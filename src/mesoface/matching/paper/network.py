"""The networks of Xiao et al. 2022: features, implicit function F(V(p), d(p)), and the regulariser.

Features have half the photo's resolution and 128 channels; the implicit function rates how well the views
agree at a point; a 3D U-Net one channel wide regularises the volume of its costs. The names of the layers are
the published checkpoint's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mesoface.files.weights import Network

CHANNELS = 128
"""Channels of the features."""
_GROUPS = 32


class ConvNormReLU(nn.Module):
    """3×3 convolution without bias, group normalisation, ReLU: (B, in, h, w) → (B, out, h, w)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn = nn.GroupNorm(_GROUPS, outputs)  # the published checkpoint's name for it

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, h, w) → (B, out, h, w)."""
        return F.relu(self.bn(self.conv(x)))


class FeatureNetwork(nn.Module):
    """Eight convolutions, the first of stride two. The names are the published checkpoint's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(3, 32, 5, stride=2, padding=2)
        self.conv2 = ConvNormReLU(32, 32)
        self.conv3 = ConvNormReLU(32, 32)
        self.conv4 = ConvNormReLU(32, 64)
        self.conv5 = ConvNormReLU(64, 64)
        self.conv6 = ConvNormReLU(64, 64)
        self.conv7 = ConvNormReLU(64, 64)
        self.feature = nn.Conv2d(64, CHANNELS, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Features of photos.

        The first convolution's window is centred on every second pixel, so the feature at (x, y) belongs to
        the pixel (2x, 2y).

        Args:
            images: (B, 3, H, W) blue, green, red in 0…255, as trained.

        Returns:
            (B, 128, ⌈H/2⌉, ⌈W/2⌉).

        Raises:
            ValueError: ``images`` has another shape.
        """
        if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
            raise ValueError(f"images must be (B, 3, H, W), got {tuple(images.shape)}")
        x = self.conv0(images)
        for layer in (self.conv2, self.conv3, self.conv4, self.conv5, self.conv6, self.conv7):
            x = layer(x)
        return self.feature(x)


_OUTSIDE = -2.0  # a grid position beyond the zero padding


class SurfaceClassifier(nn.Module):
    """The same small MLP at every point: 129 → 1024 → 512 → 256 → 128 → 1, as 1×1 convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = nn.Conv1d(CHANNELS + 1, 1024, 1)
        self.conv1 = nn.Conv1d(1024, 512, 1)
        self.conv2 = nn.Conv1d(512, 256, 1)
        self.conv3 = nn.Conv1d(256, 128, 1)
        self.conv4 = nn.Conv1d(128, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 129, N) → (B, 1, N) in (0, 1)."""
        for layer in (self.conv0, self.conv1, self.conv2, self.conv3):
            x = F.leaky_relu(layer(x), 0.01)
        return torch.sigmoid(self.conv4(x))


class ImplicitFunction(nn.Module):
    """Feature network and MLP together, as the published checkpoint holds them."""

    def __init__(self) -> None:
        super().__init__()
        self.image_filter = FeatureNetwork()
        self.surface_classifier = SurfaceClassifier()

    def forward(
        self,
        features: Sequence[Tensor],
        projections: Sequence[Tensor],
        points: Tensor,
        displacements: Tensor,
    ) -> Tensor:
        """Matching cost at points of the UVD space; trained to peak at the surface.

        Args:
            features: V × (128, h, w) of ``image_filter``; the views may differ in size.
            projections: V × (3, 4), world → pixels of the *features*, float64 where the world is large.
            points: (N, 3) in the projections' world.
            displacements: (N,) of the points from the base surface, in [-1, 1].

        Returns:
            (N,) in (0, 1). Memory grows with N: some 9 kB a point.

        Raises:
            ValueError: a shape is another one, or there are fewer than two views.
        """
        if displacements.shape != points.shape[:1]:
            raise ValueError(
                f"displacements must be (N,) for {len(points)} points, got {tuple(displacements.shape)}"
            )
        variance = view_variance(features, projections, points)
        inputs = torch.cat([variance, displacements[None].to(variance)])
        return self.surface_classifier(inputs[None])[0, 0]


def view_variance(features: Sequence[Tensor], projections: Sequence[Tensor], points: Tensor) -> Tensor:
    """Variance over the views of the features that points project to.

    All views count the same, also those that do not see the point, and those whose photo it is outside of
    count with zeros.

    Args:
        features: V × (C, h, w).
        projections: V × (3, 4), world → pixels of the features.
        points: (N, 3).

    Returns:
        (C, N), E[f²] − E[f]² of each channel.

    Raises:
        ValueError: a shape is another one, or there are fewer than two views.
    """
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points must be (N, 3), got {tuple(points.shape)}")
    if len(features) != len(projections) or len(features) < 2:
        raise ValueError(
            f"two views at least, one projection each: got {len(features)} features, "
            f"{len(projections)} projections"
        )
    mean = mean_square = torch.zeros((), device=points.device)
    for view, (feature, projection) in enumerate(zip(features, projections, strict=True)):
        if feature.ndim != 3 or min(feature.shape[1:]) < 2:
            raise ValueError(f"features of view {view} must be (C, h, w), got {tuple(feature.shape)}")
        sampled = sample_features(feature, project(projection, points))
        mean = mean + sampled / len(features)
        mean_square = mean_square + sampled**2 / len(features)
    return mean_square - mean**2


def project(projection: Tensor, points: Tensor) -> Tensor:
    """(3, 4) and (N, 3) → (N, 2) pixels; NaN behind the camera."""
    if projection.shape != (3, 4):
        raise ValueError(f"a projection must be (3, 4), got {tuple(projection.shape)}")
    x = points.to(projection) @ projection[:, :3].T + projection[:, 3]
    return torch.where(x[:, 2:] > 0, x[:, :2] / x[:, 2:], torch.nan)


def sample_features(feature: Tensor, pixels: Tensor) -> Tensor:
    """Bilinear lookup, zero outside, as the published weights were trained.

    Positions are normalised by (size − 1)/2 but looked up with ``align_corners=False``. So the feature of a
    pixel x is read at x·W/(W−1) − 0.5, up to half a feature off; the networks learned with that.

    Args:
        feature: (C, h, w).
        pixels: (N, 2) x and y; where one is NaN, zeros are returned.

    Returns:
        (C, N).
    """
    height, width = feature.shape[1:]
    half = torch.tensor([(width - 1) / 2, (height - 1) / 2], dtype=pixels.dtype, device=pixels.device)
    grid = torch.nan_to_num(pixels / half - 1, nan=_OUTSIDE).clamp(_OUTSIDE, -_OUTSIDE)
    precision = torch.promote_types(feature.dtype, torch.float32)  # half a pixel is lost in half precision
    sampled = F.grid_sample(
        feature[None].to(precision), grid[None, None].to(precision), padding_mode="zeros", align_corners=False
    )
    return sampled[0, :, 0]


IMPLICIT_FUNCTION = Network("implicit_function", "features and matching cost", lambda _: ImplicitFunction())


class ConvNormReLU3d(nn.Module):
    """3×3×3 convolution without bias, batch normalisation, ReLU: (B, in, D, H, W) → (B, out, …)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn = nn.BatchNorm3d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, D, H, W) → (B, out, D, H, W), halved by a stride of two."""
        return F.relu(self.bn(self.conv(x)))


def _upsample(inputs: int, outputs: int) -> nn.Sequential:
    """Twice the height and width, and 2D − 1 steps: the inverse of a stride of two on an odd D."""
    return nn.Sequential(
        nn.ConvTranspose3d(inputs, outputs, 3, stride=2, padding=1, output_padding=(0, 1, 1), bias=False),
        nn.BatchNorm3d(outputs),
        nn.ReLU(),
    )


class Regularizer(nn.Module):
    """Smooths a volume of matching costs and reads the displacement off it.

    The names are the published checkpoint's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = ConvNormReLU3d(1, 1)
        self.conv1 = ConvNormReLU3d(1, 2, stride=2)
        self.conv2 = ConvNormReLU3d(2, 2)
        self.conv3 = ConvNormReLU3d(2, 4, stride=2)
        self.conv4 = ConvNormReLU3d(4, 4)
        self.conv9 = _upsample(4, 2)
        self.conv11 = _upsample(2, 1)
        self.last_conv = nn.Conv3d(1, 1, 3, padding=1)

    def forward(self, volume: Tensor, steps: Tensor, mask: Tensor) -> Tensor:
        """Displacement from a volume of matching costs.

        Args:
            volume: (B, 1, D, H, W); D = 4k + 1, H and W divisible by four, as two strides of two require.
            steps: (B, D) displacement that each slice stands for, in steps.
            mask: (B, H, W), 1 on the face and 0 elsewhere, where the volume is taken to be 0 as well.

        Returns:
            (B, H, W) expected displacement, in steps; 0 outside the mask.

        Raises:
            ValueError: a shape is another one.
        """
        probability = self.probability(volume, mask)
        if steps.shape != probability.shape[:2]:
            raise ValueError(f"steps must be {tuple(probability.shape[:2])}, got {tuple(steps.shape)}")
        return expected_step(probability, steps) * mask

    def probability(self, volume: Tensor, mask: Tensor) -> Tensor:
        """Which step each texel's surface is at: a distribution over D.

        Args:
            volume: as of :meth:`forward`.
            mask: as of :meth:`forward`.

        Returns:
            (B, D, H, W), 1 in sum over D.

        Raises:
            ValueError: a shape is another one.
        """
        _check_shapes(volume, mask)
        skip0 = self.conv0(volume * mask[:, None, None])
        skip1 = self.conv2(self.conv1(skip0))
        x = self.conv4(self.conv3(skip1))
        x = skip1 + self.conv9(x)
        x = skip0 + self.conv11(x)
        return torch.softmax(self.last_conv(x)[:, 0], 1)


def expected_step(probability: Tensor, steps: Tensor) -> Tensor:
    """(B, D, H, W) distribution over D and (B, D) steps → (B, H, W) expectation of the step."""
    return (probability * steps[:, :, None, None]).sum(1)


def probability_near(probability: Tensor, steps: Tensor, expected: Tensor, radius: float) -> Tensor:
    """Mass of a distribution within ``radius`` steps of its expectation.

    What Yao et al. 2018 (MVSNet) judge a depth by: it is small where the distribution has several peaks or
    none, and its expectation means nothing.

    Args:
        probability: (B, D, H, W).
        steps: (B, D).
        expected: (B, H, W) of :func:`expected_step`.
        radius: steps.

    Returns:
        (B, H, W) in [0, 1].
    """
    near = (steps[:, :, None, None] - expected[:, None]).abs() <= radius
    return (probability * near).sum(1)


def displacement_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean square error over all texels; ``prediction``, ``target`` and ``mask`` (B, H, W), steps."""
    return F.mse_loss(prediction, target * mask)


def _check_shapes(volume: Tensor, mask: Tensor) -> None:
    if volume.ndim != 5 or volume.shape[1] != 1:
        raise ValueError(f"volume must be (B, 1, D, H, W), got {tuple(volume.shape)}")
    batch, _, depth, height, width = volume.shape
    if depth % 4 != 1 or height % 4 or width % 4 or min(depth, height, width) < 4:
        raise ValueError(
            f"volume must have 4k + 1 steps and a height and width divisible by 4, "
            f"got {depth} × {height} × {width}"
        )
    if mask.shape != (batch, height, width):
        raise ValueError(f"mask must be {(batch, height, width)}, got {tuple(mask.shape)}")


REGULARIZER = Network("regularizer", "3D U-Net over the matching costs", lambda _: Regularizer())
