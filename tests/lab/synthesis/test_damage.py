"""Photos from life: each kind of damage changes what it claims, as much as asked, and the same every time."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from mesoface.errors import MesofaceError
from mesoface.lab.synthesis.capture import Studio, SyntheticCapture
from mesoface.lab.synthesis.damage import (
    code_video,
    denoise,
    disturb,
    map_tones,
    process,
    quantiser_step,
    shake,
    sharpen,
)
from mesoface.lab.synthesis.scene import draw_lighting, lights_turned
from mesoface.lab.synthesis.settings import PhoneSettings, SynthesisSettings
from mesoface.lab.synthesis.subject import REST

SIDE = 160
STRONG = PhoneSettings(
    movement_mm=0.3,
    rolling_px=2,
    motion_px=3,
    denoising=0.5,
    tone_mapping=0.5,
    sharpening=1,
    video_qp=28,
)


def chance(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def texture(sigma: float, strength: float = 12.0, seed: int = 0) -> np.ndarray:
    """(SIDE, SIDE, 3) uint8: grey, with the texture of blurred noise of this standard deviation, levels."""
    field = cv2.GaussianBlur(chance(seed).standard_normal((SIDE, SIDE)), (0, 0), sigma)
    return np.clip(128 + strength * (field / field.std())[..., None] + np.zeros(3), 0, 255).astype(np.uint8)


def fine(photo: np.ndarray) -> float:
    """Standard deviation of what is finer than two pixels, levels."""
    grey = photo.astype(np.float32).mean(-1)
    return float((grey - cv2.GaussianBlur(grey, (0, 0), 1.0))[8:-8, 8:-8].std())


def flow(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(h, w, 2) by how many pixels the content of ``after`` lies aside, away from the edges."""
    grey = [(image.mean(-1) * 255).astype(np.uint8) for image in (after, before)]
    found = cv2.calcOpticalFlowFarneback(grey[0], grey[1], None, 0.5, 2, 25, 8, 7, 1.5, 0)
    return found[20:-20, 20:-20]


def test_nothing_happens_by_default() -> None:
    photo, rng = texture(1), chance()
    radiance = photo.astype(np.float32) / 255
    assert disturb(radiance, PhoneSettings(), 0.5, rng) is radiance
    assert process(photo, PhoneSettings(), rng) is photo
    assert rng.random() == chance().random(), "no chance is drawn: other captures stay as they are"


def test_the_same_chance_does_the_same_damage() -> None:
    photo = texture(1)
    radiance = photo.astype(np.float32) / 255
    once, again, other = (
        (disturb(radiance, STRONG, 0.5, chance(seed)), process(photo, STRONG, chance(seed)))
        for seed in (1, 1, 2)
    )
    for a, b, c in zip(once, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)


def test_a_rolling_shutter_shears_the_photo() -> None:
    """Each row lies aside by its own amount, which runs from end to end by as much as is drawn."""
    radiance, drifts = texture(3).astype(np.float32) / 255, []
    for seed in range(12):
        moved = flow(radiance, disturb(radiance, PhoneSettings(rolling_px=4.0), 0.5, chance(seed)))
        rows = moved.mean(1)
        assert np.abs(moved - rows[:, None]).max() < 0.4, "all of a row moves alike"
        drifts.append((rows[-8:].mean(0) - rows[:8].mean(0)) * SIDE / len(rows))
    assert np.sqrt((np.array(drifts) ** 2).sum(1).mean()) == pytest.approx(4.0, rel=0.4)


@pytest.mark.parametrize("pixel_mm", [0.2, 0.5])
def test_skin_moves_smoothly_by_so_many_millimetres(pixel_mm: float) -> None:
    radiance, settings = texture(3).astype(np.float32) / 255, PhoneSettings(movement_mm=0.5)
    moved = [flow(radiance, disturb(radiance, settings, pixel_mm, chance(seed))) for seed in range(12)]
    rms = np.sqrt(np.mean([(one**2).sum(-1).mean() for one in moved])) * pixel_mm
    assert 0.2 < rms < 0.6, "cubic interpolation between points keeps some two thirds of 0.5 mm"
    slopes = [np.abs(np.diff(one, axis=0)).max() for one in moved]
    assert max(slopes) < 0.15


def test_motion_blur_takes_detail_along_its_path_and_keeps_light_and_place() -> None:
    point = np.zeros((41, 41, 3), np.float32)
    point[20, 20] = 1.0
    blurred = shake(point, 6.0, chance())[..., 0]
    assert blurred.sum() == pytest.approx(1, abs=1e-4)
    rows, columns = np.indices(blurred.shape) - 20
    weighted = [float((blurred * at).sum()) for at in (rows, columns)]
    np.testing.assert_allclose(weighted, 0, atol=0.05)
    spread = np.cov(np.stack([rows.ravel(), columns.ravel()]), aweights=blurred.ravel(), bias=True)
    short, long = np.sqrt(np.linalg.eigvalsh(spread))
    assert long == pytest.approx(6.0 / np.sqrt(12), rel=0.25)
    assert short < 0.6 * long


def test_denoising_takes_faint_texture_and_keeps_edges() -> None:
    photo = texture(0.8, strength=4)
    photo[:, SIDE // 2 :] += 90
    smooth = denoise(photo, 0.8)
    assert fine(smooth[:, : SIDE // 2]) < 0.5 * fine(photo[:, : SIDE // 2])
    step = smooth[20:-20, SIDE // 2 + 1].mean() - smooth[20:-20, SIDE // 2 - 2].mean()
    assert step > 80


def test_tone_mapping_evens_out_light_and_keeps_local_contrast() -> None:
    light = np.linspace(0.3, 1.3, SIDE)[None, :, None]
    photo = (texture(1) * light).clip(0, 255).astype(np.uint8)
    mapped = map_tones(photo, 0.8).astype(float)
    ends = [image[:, -20:].mean() / image[:, :20].mean() for image in (photo.astype(float), mapped)]
    assert ends[1] < 0.75 * ends[0]
    middle = (slice(None), slice(60, 100))
    contrast = [fine(image[middle]) / image[middle].mean() for image in (photo, mapped)]
    assert contrast[1] == pytest.approx(contrast[0], rel=0.15)


def test_sharpening_puts_halos_beside_edges() -> None:
    photo = np.full((40, 40, 3), 80, np.uint8)
    photo[:, 20:] = 160
    sharp = sharpen(photo, 1.0)
    assert sharp[:, 19].max() < 60
    assert sharp[:, 20].min() > 180
    np.testing.assert_array_equal(sharp[:, [0, -1]], photo[:, [0, -1]])


def test_a_coder_loses_more_at_a_higher_qp_and_faint_texture_first() -> None:
    photo, faint = texture(1.2, strength=14), texture(1.2, strength=3)
    losses = [np.abs(code_video(photo, qp, chance()).astype(int) - photo).mean() for qp in (10, 22, 34)]
    assert losses[0] < 1.0
    assert losses[0] < losses[1] < losses[2]
    kept = [fine(code_video(one, 30, chance())) / fine(one) for one in (photo, faint)]
    assert kept[1] < 0.6 * kept[0]


def test_a_coder_halves_the_resolution_of_colour_only() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[...] = (120, 90, 90)
    stripes[:, ::2] = (60, 115, 90)
    coded = code_video(stripes, 1, chance()).astype(float)
    luma = np.array([0.299, 0.587, 0.114])
    colour, light = (np.abs(np.diff(a, axis=1)).mean() for a in (coded[..., 0] - coded @ luma, coded @ luma))
    true = [np.abs(np.diff(a, axis=1)).mean() for a in (stripes[..., 0] - stripes @ luma, stripes @ luma)]
    assert colour < 0.3 * true[0]
    assert light == pytest.approx(true[1], abs=3)


def test_the_quantiser_step_doubles_every_six() -> None:
    """As in the standard: 0.625 at 0, 10 at 24, 40 at 36."""
    np.testing.assert_allclose([quantiser_step(qp) for qp in (0, 24, 36)], [0.625, 10, 40])


def test_photos_of_any_size_can_be_coded() -> None:
    for shape in ((17, 23), (8, 8), (5, 40)):
        photo = np.full((*shape, 3), 100, np.uint8)
        assert np.abs(process(photo, STRONG, chance()).astype(int) - 100).max() < 12


def test_lights_turn_about_the_vertical() -> None:
    lighting = draw_lighting(chance())
    turns = []
    for seed in range(60):
        turned = lights_turned(lighting, 10.0, chance(seed))
        for a, b in zip(lighting.lights, turned.lights, strict=True):
            assert a.direction[1] == pytest.approx(b.direction[1])
        x, z = (turned.lights[0].direction[k] for k in (0, 2))
        turns.append(np.degrees(np.arctan2(x, z) - np.arctan2(*lighting.lights[0].direction[[0, 2]])))
    assert np.std((np.array(turns) + 180) % 360 - 180) == pytest.approx(10, rel=0.25)


TINY = {"views": 2, "width": 96, "height": 144, "detail_mm": 5.0, "supersample": 1}


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio.set_up(seed=9, model="generic", settings=SynthesisSettings(**TINY))


@pytest.fixture(scope="module")
def clean(studio: Studio) -> SyntheticCapture:
    return studio.take(REST)


@pytest.mark.parametrize("name", [name for name in PhoneSettings.model_fields if name != "skin_contrast"])
def test_every_setting_reaches_the_photos_and_leaves_the_truth(
    studio: Studio, clean: SyntheticCapture, name: str
) -> None:
    largest = {"video_qp": 30, "highlights_deg": 20}
    settings = SynthesisSettings(**TINY, **{name: largest.get(name, 1.0)})
    damaged = replace(studio, subject=replace(studio.subject, settings=settings)).take(REST)
    np.testing.assert_array_equal(clean.truth.vertices, damaged.truth.vertices)
    for a, b in zip(clean.cameras, damaged.cameras, strict=True):
        np.testing.assert_array_equal(a.P, b.P)
    assert all(not np.array_equal(a, b) for a, b in zip(clean.photos, damaged.photos, strict=True))


def test_low_contrast_is_a_property_of_the_skin(studio: Studio) -> None:
    settings = SynthesisSettings(**TINY, skin_contrast=1 / 3)
    full, low = studio.subject, Studio.set_up(seed=9, model="generic", settings=settings).subject
    np.testing.assert_array_equal(full.relief.height, low.relief.height)
    skin = (full.relief.lips == 0) & (full.head.grown == 1)
    spread = [np.subtract(*np.percentile(np.log(s.albedo[skin, 1]), [75, 50])) for s in (full, low)]
    assert 0.2 < spread[1] / spread[0] < 0.6


@pytest.mark.parametrize(
    ("name", "value"),
    [("video_qp", 52), ("denoising", 1.1), ("skin_contrast", -0.1), ("movement_mm", float("nan"))],
)
def test_impossible_damage_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(MesofaceError, match=name):
        SynthesisSettings(**{name: value})
