"""Photo to network, points of the UVD space to volume, volume to displacement."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mesoface.captures.capture import View
from mesoface.captures.load import load_capture
from mesoface.face_models import load_face_model
from mesoface.face_models.model import base_mesh
from mesoface.files.meshes import read_mesh
from mesoface.geometry.camera import Camera, look_at
from mesoface.geometry.mesh import Mesh
from mesoface.matching.paper import (
    STEP_MM,
    FeatureNetwork,
    ImplicitFunction,
    Regularizer,
    cost_volume,
    network_view,
    read_displacement,
)
from mesoface.matching.paper.matcher import SIZE, paper_space
from mesoface.matching.paper.network import view_variance
from mesoface.uvd.maps import rasterize_uv
from mesoface.uvd.space import UVDSpace

STEPS = range(-6, 7)


@pytest.fixture
def space() -> UVDSpace:
    """A flat square of 40 mm that faces +z, 12² texels, with a rim outside the mask."""
    x = np.linspace(-20, 20, 12, dtype=np.float32)
    position = np.stack([*np.meshgrid(x, -x), np.zeros((12, 12), np.float32)], -1)
    normal = np.zeros_like(position)
    normal[..., 2] = 1
    valid = np.zeros((12, 12), bool)
    valid[1:-1, 2:-2] = True
    return UVDSpace(position, normal, valid)


class Probe(torch.nn.Module):
    """In the implicit function's place: says the height above the plane and its displacement input."""

    def forward(self, features, projections, points, displacements):
        return (points[:, 2] + 1000 * displacements).float()


def camera(angle: float, width: int = 40, height: int = 60) -> Camera:
    K = np.array([[50, 0, width / 2], [0, 50, height / 2], [0, 0, 1]])
    R, t = look_at((300 * np.sin(angle), 0, 300 * np.cos(angle)), (0, 0, 0))
    return Camera(K, R, t, width, height)


def seen():
    """An untrained network, and its features and projections of three photos of noise."""
    torch.manual_seed(5)
    network, rng = ImplicitFunction().eval(), np.random.default_rng(1)
    photos = [View("noise", rng.random((60, 40, 3), np.float32), camera(angle)) for angle in (-0.4, 0, 0.4)]
    images, projections = zip(*(network_view(photo, 60) for photo in photos), strict=True)
    return network, [network.image_filter(image[None])[0] for image in images], projections


@torch.inference_mode()
def test_points_and_displacements_of_the_volume(space):
    volume = cost_volume(Probe(), [torch.zeros(1)], [], space, steps=STEPS)
    assert volume.shape == (13, 12, 12)
    expected = torch.arange(-6.0, 7) * (STEP_MM + 1000 / 100)  # 0.2 mm and 1/100 a step
    inside = volume[:, torch.from_numpy(space.valid)]
    torch.testing.assert_close(inside, expected[:, None].expand_as(inside))
    assert volume[:, torch.from_numpy(~space.valid)].abs().max() == 0


@torch.inference_mode()
@pytest.mark.parametrize("chunk", [1, 77, 10**6])
def test_chunks_do_not_show(space, chunk):
    network, features, projections = seen()
    few = UVDSpace(space.position, space.normal, space.valid & (np.arange(12) < 5))
    whole = cost_volume(network, features, projections, few, steps=range(-2, 3))
    told = []
    options = {"steps": range(-2, 3), "chunk": chunk, "progress": lambda *state: told.append(state)}
    parts = cost_volume(network, features, projections, few, **options)
    torch.testing.assert_close(whole, parts, atol=1e-6, rtol=0)
    total = 5 * int(few.valid.sum())
    assert told[-1] == ("matching cost", total, total)
    assert len(told) == -(-total // chunk)


@torch.inference_mode()
def test_order_of_the_views_does_not_matter(space):
    network, features, projections = seen()

    def volume(order):
        turned = [features[i] for i in order], [projections[i] for i in order]
        return cost_volume(network, *turned, space, steps=range(-2, 3))

    torch.testing.assert_close(volume([0, 1, 2]), volume([2, 0, 1]), atol=1e-6, rtol=0)


def test_displacement_is_in_millimetres_and_nothing_outside_the_mask(space):
    network = Regularizer().eval()
    with torch.no_grad():
        for value in network.parameters():
            value.zero_()
        # volume → skip → scores: one weight of the first and of the last convolution
        network.conv0.conv.weight[0, 0, 1, 1, 1] = network.conv0.bn.weight[0] = 1
        network.last_conv.weight[0, 0, 1, 1, 1] = 80
    volume = torch.zeros(13, 12, 12)
    volume[9] = 1  # step 3
    found = read_displacement(network, volume, space, steps=STEPS)
    np.testing.assert_allclose(found.displacement[space.valid], 3 * STEP_MM, atol=1e-5)
    np.testing.assert_allclose(found.confidence[space.valid], 1, atol=1e-5)
    assert not found.displacement[~space.valid].any()
    assert not found.confidence[~space.valid].any()


def test_network_view_points_to_the_pixel_it_shows():
    """A white pixel, its ray, and the projection: the feature that it belongs to is the one asked for."""
    for width, height in ((40, 60), (60, 40)):
        cam = camera(0.3, width, height)
        image = np.zeros((height, width, 3), np.float32)
        image[24, 18] = (0.2, 0.4, 1.0)
        point = cam.unproject((18, 24), 280)
        tensor, projection = network_view(View("a", image, cam), 60)
        assert tensor.shape == (3, 40, 60), "landscape"
        x = projection.numpy() @ [*point, 1]
        column, row = np.round(2 * x[:2] / x[2]).astype(int)
        np.testing.assert_allclose(tensor[:, row, column], [255, 102, 51], rtol=1e-5)  # blue, green, red


def test_network_view_resizes_with_the_camera():
    cam = camera(0.2, 80, 120)
    image = np.zeros((120, 80, 3), np.float32)
    image[60:68, 32:40] = 1
    tensor, projection = network_view(View("a", image, cam), 60)
    assert tensor.shape == (3, 40, 60)
    lit = torch.nonzero(tensor[0] > 200).double().mean(0)  # (row, column) of the block's middle
    x = projection.numpy() @ [*cam.unproject((35.5, 63.5), 300), 1]
    np.testing.assert_allclose(2 * x[1::-1] / x[2], lit, atol=1e-6)


class Disagreement(torch.nn.Module):
    """In the implicit function's place: mean variance of the features, the lower the better."""

    def forward(self, features, projections, points, displacements):
        return view_variance(features, projections, points).mean(0)


@pytest.mark.slow
def test_views_agree_at_the_true_surface(shared):
    """Real photos, real cameras: features of untrained filters differ least where the surface is."""
    folder = shared("captures/lps")
    truth = read_mesh(folder / "gt.ply")
    capture = load_capture(folder, names=("4", "5", "6"))
    ahead = np.mean([view.camera.forward for view in capture.views], 0)
    normals, depth = truth.vertex_normals(), truth.vertices @ ahead
    front = np.flatnonzero((normals @ -ahead > 0.9) & (depth < depth.min() + 70))  # forehead to chin
    chosen = np.random.default_rng(0).choice(front, (20, 20), replace=False)
    space = UVDSpace(truth.vertices[chosen], normals[chosen], np.ones((20, 20), bool))
    torch.manual_seed(0)
    network = FeatureNetwork().eval()
    with torch.inference_mode():
        images, projections = zip(*map(network_view, capture.views), strict=True)
        features = [network(image[None])[0] for image in images]
    steps = range(-20, 21)
    variance = cost_volume(Disagreement(), features, projections, space, steps=steps).flatten(1)
    lowest = variance.median(1).values.argmin() - 20
    assert abs(lowest) <= 1, f"{lowest} steps of {STEP_MM} mm off"
    off = (variance.argmin(0) - 20).abs() * STEP_MM
    assert off.median() <= 1


def test_refused(space):
    network = Regularizer()
    with pytest.raises(ValueError, match="training mode"):
        read_displacement(network, torch.zeros(13, 12, 12), space, steps=STEPS)
    with pytest.raises(ValueError, match="steps must be"):
        read_displacement(network.eval(), torch.zeros(13, 12, 12), space)
    for steps in ((), (0, 101)):
        with pytest.raises(ValueError, match="steps must be in -100…100"):
            cost_volume(Probe(), [torch.zeros(1)], [], space, steps=steps)
    with pytest.raises(ValueError, match="chunk must be 1 or more"):
        cost_volume(Probe(), [torch.zeros(1)], [], space, chunk=0)


def published_maps(mesh):
    """In the paper's words: positions at 512², rows 72–327 and columns 128–383; and which are valid."""
    raster = rasterize_uv(mesh.uv, mesh.faces, 512)
    window = slice(72, 328), slice(128, 384)
    return raster.interpolate(mesh.vertices, mesh.faces)[window], raster.valid[window]


def test_the_whole_square_of_a_stretched_layout_is_the_published_window(scenes):
    """A layout like FaceScape's, and the same one stretched as our reader of the model stretches it."""
    cap = scenes.cap(bumps=0.0).mesh()
    low, high = np.array([128 / 512, 1 - 328 / 512]), np.array([384 / 512, 1 - 72 / 512])
    published = replace(cap, uv=low - 0.02 + cap.uv * (high - low + 0.04))  # reaches beyond the window
    stretched = replace(published, uv=(published.uv - low) / (high - low))
    expected, valid = published_maps(published)
    space = paper_space(stretched, np.ones(len(stretched.faces), bool))
    assert space.size == SIZE == 256
    np.testing.assert_array_equal(space.valid, valid)
    np.testing.assert_allclose(space.position[valid], expected[valid], atol=1e-4)


def test_positions_are_the_mesh_itself_and_normals_smooth(scenes):
    mesh = scenes.cap(bumps=1.0).mesh(25)  # a coarse polyhedron
    space = paper_space(mesh, np.ones(len(mesh.faces), bool), 64)
    raster = rasterize_uv(mesh.uv, mesh.faces, 64)
    exact = raster.interpolate(mesh.vertices, mesh.faces)
    np.testing.assert_array_equal(space.position[space.valid], exact[space.valid])
    np.testing.assert_allclose(np.linalg.norm(space.normal, axis=-1), 1, atol=1e-5)
    corner = raster.interpolate(mesh.vertex_normals(), mesh.faces)
    inner = np.zeros_like(space.valid)
    inner[16:-16, 16:-16] = True
    turn = [np.linalg.norm(np.diff(n, axis=1), axis=-1)[inner[:, 1:]].mean() for n in (corner, space.normal)]
    assert turn[1] < 0.7 * turn[0]
    assert np.einsum("hwk,hwk->hw", space.normal, scenes.cap().space(64).normal)[space.valid].min() > 0.95


def test_the_mask_of_the_built_in_model_fills_the_square():
    """The map that stands in for FaceScape's crop holds the whole facial mask, at texels of a like size."""
    model = load_face_model("generic")
    neutral = model.shape(np.zeros(model.n_identity), np.zeros(model.n_expression))
    space = paper_space(base_mesh(model, neutral), model.topology.facial)
    rows, columns = np.nonzero(space.valid)
    assert np.ptp(rows) > 200
    assert np.ptp(columns) > 200
    assert 0.5 < space.texel_mm < 1.2
    assert 0.4 < space.valid.mean() < 0.95


def test_meshes_that_make_no_maps_are_refused(scenes):
    mesh = scenes.cap().mesh(9)
    with pytest.raises(ValueError, match="no UVs"):
        paper_space(Mesh(mesh.vertices, mesh.faces), np.ones(len(mesh.faces), bool))
    with pytest.raises(ValueError, match="no facial face"):
        paper_space(mesh, np.zeros(len(mesh.faces), bool))
