"""The implicit function F(V(p), d(p)) of Xiao et al. 2022: how well the views agree at a point."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mesoface.files.weights import Network
from mesoface.matching.paper.features import CHANNELS, FeatureNetwork

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
