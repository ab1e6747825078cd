import numpy as np
import pytest
import torch

from mesoface.matching.learned.features import Features, gaussian_blur
from mesoface.matching.learned.kernels import (
    agreement,
    agreement_in_photos,
    agreement_in_torch,
    project,
    sample,
)

GROUPS, WIDTH = 4, 3


@pytest.fixture(params=[(GROUPS, WIDTH), (5, 3), (2, 20)], ids=["14", "17", "42"])
def setting(request):
    """Five photos of a bumpy square, one of which sees half of it, and their features of so many channels."""
    groups, width = request.param
    torch.manual_seed(3)
    size, views = 12, 5
    y, x = torch.meshgrid(*(torch.arange(size) * 0.4 - 2.2,) * 2, indexing="ij")
    position = torch.stack([x, y, 0.3 * torch.sin(x)], -1).float()
    tilted = torch.tensor([0.0, 0, -1]) + 0.1 * torch.randn(size, size, 3)
    normal = torch.nn.functional.normalize(tilted, dim=-1)
    projections = []
    for view in range(views):
        turn = 0.15 * (view - 2)
        c, s = np.cos(turn), np.sin(turn)
        pose = torch.tensor([[c, 0, s, 0], [0, 1, 0, 0], [-s, 0, c, 500.0]], dtype=torch.float64)
        K = torch.tensor([[2000.0, 0, 20 + view], [0, 2000, 21], [0, 0, 1]], dtype=torch.float64)
        projections.append(K @ pose)
    visibility = torch.rand(views, size, size) + 0.1
    visibility[1, :, :6] = 0
    features = [torch.randn(groups * width + 2, 44, 40 + view) for view in range(views)]
    for photo in features:
        photo[-2].sigmoid_()
    return {
        "features": features,
        "projections": torch.stack(projections),
        "position": position,
        "normal": normal,
        "visibility": visibility,
        "steps": torch.arange(-2, 3) * 0.2,
        "groups": groups,
    }


def test_the_sum_over_views_is_the_mean_over_pairs():
    torch.manual_seed(0)
    features = torch.randn(6, GROUPS, WIDTH, 7, 5)
    weights = torch.rand(6, 7, 5)
    weights[2] = 0
    found = agreement((features[v], weights[v]) for v in range(6))
    pairs = torch.ones(6, 6) - torch.eye(6)
    cosines = torch.einsum("ij,ixy,jxy,igcxy,jgcxy->gxy", pairs, weights, weights, features, features)
    expected = cosines / torch.einsum("ij,ixy,jxy->xy", pairs, weights, weights)
    torch.testing.assert_close(found.coherence, expected)


def test_the_order_and_copies_of_views_do_not_matter():
    torch.manual_seed(1)
    features, weights = torch.randn(5, 1, WIDTH, 9), torch.rand(5, 9)
    first = agreement(zip(features, weights, strict=True))
    mixed = torch.tensor([3, 0, 4, 2, 1])
    second = agreement(zip(features[mixed], weights[mixed], strict=True))
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("views", [2, 3, 10, 60])
def test_coherence_has_no_bias_from_the_number_of_views(views):
    torch.manual_seed(2)
    unit = torch.nn.functional.normalize(torch.randn(views, 1, WIDTH, 20000), dim=2)
    nothing_common = agreement((u, torch.ones(20000)) for u in unit).coherence
    assert abs(float(nothing_common.mean())) < 0.02
    same = agreement((unit[0], torch.ones(20000)) for _ in range(views)).coherence
    torch.testing.assert_close(same, torch.ones_like(same))


def test_one_view_agrees_with_nobody():
    found = agreement([(torch.ones(1, WIDTH, 4), torch.ones(4)), (torch.ones(1, WIDTH, 4), torch.zeros(4))])
    assert (found.coherence == 0).all()
    assert (found.paired == 0).all()


def test_points_are_projected_as_the_camera_does(scenes):
    camera = scenes.camera(20.0, 5.0, 120)
    space = scenes.cap().space(16)
    place = (torch.from_numpy(values) for values in (camera.P, space.position, space.normal))
    pixels = project(*place, torch.tensor([-1.0, 0.5]))
    for k, d in enumerate([-1.0, 0.5]):
        expected, _ = camera.project(space.displaced(np.full(space.valid.shape, d)))
        np.testing.assert_allclose(pixels[:, :, k], expected, atol=1e-3)


def test_sampling_is_bilinear_with_pixel_centres_at_integers():
    photo = torch.arange(12.0).view(1, 3, 4)
    at = torch.tensor([[[[0.0, 0.0], [1.5, 1.0], [3.0, 2.0], [-5.0, 9.0]]]])
    assert sample(photo, at)[0, 0, 0].tolist() == pytest.approx([0.0, 5.5, 11.0, 8.0])


@pytest.mark.parametrize("threads", [1, 3])
def test_the_compiled_loop_says_what_torch_says(setting, threads):
    for a, b in zip(
        agreement_in_torch(**setting),
        agreement_in_photos(**setting, threads=threads),
        strict=True,
    ):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


def test_the_compiled_gradient_is_torch_s(setting):
    gradients = []
    for function in (agreement_in_torch, agreement_in_photos):
        photos = [photo.clone().requires_grad_() for photo in setting["features"]]
        found = function(**setting | {"features": photos})
        torch.manual_seed(5)
        sum((part * torch.randn(part.shape)).sum() for part in found).backward()
        gradients.append([photo.grad[:-1] for photo in photos])  # nothing is learned through the contrast
    assert max(float(g.abs().max()) for g in gradients[0]) > 1
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, atol=2e-3, rtol=1e-3)


def test_features_that_cannot_be_looked_up_are_refused(setting):
    for features in (
        [photo[:-1] for photo in setting["features"]],  # not groups × width + 2
        [setting["features"][0][:-3], *setting["features"][1:]],
        [photo[:, :1] for photo in setting["features"]],
    ):
        with pytest.raises(ValueError, match=r"channels are not|must be"):
            agreement_in_photos(**setting | {"features": features})


def test_behind_the_camera_nothing_breaks(setting):
    setting["projections"][0, 2] *= -1
    for part in agreement_in_photos(**setting):
        assert torch.isfinite(part).all()


def test_features_do_not_see_exposure_and_white_balance():
    torch.manual_seed(0)
    features = Features()
    photo = gaussian_blur(torch.rand(60, 50, 3), 1.0).permute(2, 0, 1) * 0.6 + 0.2
    plain = features(photo)
    other = features(photo * torch.tensor([0.6, 0.8, 1.2])[:, None, None])
    # The floor that keeps the dark from being divided by nothing is all that is left of the difference.
    assert (plain[:-2] - other[:-2]).abs().mean() < 0.1 * plain[:-2].std()
    assert (plain[-1] - other[-1]).abs().mean() < 0.1 * plain[-1].std()


def test_descriptors_have_unit_length_at_most():
    features = Features()(torch.rand(3, 30, 40))
    assert len(features) == GROUPS * WIDTH + 2
    assert (features[:-2].unflatten(0, (GROUPS, WIDTH)) ** 2).sum(1).max() <= 1


def test_a_blur_keeps_a_constant_up_to_the_edge():
    x = torch.full((9, 7, 3), 4.0)
    torch.testing.assert_close(gaussian_blur(x, 2.5), x)


def test_a_blur_is_a_gaussian():
    x = torch.zeros(41, 41, 2)
    x[20, 20, 1] = 1
    blurred = gaussian_blur(x, 3.0)
    assert (blurred[..., 0] == 0).all()
    blurred = blurred[..., 1]
    at = torch.arange(41) - 20
    assert float((blurred.sum(0) * at**2).sum()) == pytest.approx(9.0, rel=0.1)
    torch.testing.assert_close(blurred, blurred.T)
