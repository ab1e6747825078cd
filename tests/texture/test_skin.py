"""The measured surface and what lies in its openings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mesoface.texture.skin import find_skin
from mesoface.uvd.fine_surface import FineSurface


@pytest.fixture
def fine(cap):
    """The cap measured 0.5 mm outside of a base, with an eye-like hole and without its right quarter."""
    space = cap.skin.space
    kept = space.valid.copy()
    kept[50:60, 40:55] = False
    kept[:, 96:] = False
    return FineSurface(
        mesh=cap.mesh,
        space=space,
        displacement=np.where(kept, np.float32(0.5), 0),
        kept=kept,
        filled=np.zeros_like(kept),
        confidence=kept.astype(np.float32),
        visibility=np.zeros((2, *kept.shape), np.float32),
        left_out=0.1,
    )


def test_openings_are_closed_by_the_base_mesh(fine, cap):
    skin = find_skin(fine, cap.mesh)
    radius = np.linalg.norm(skin.space.position, axis=-1)
    np.testing.assert_allclose(radius[fine.kept], 80.5, atol=0.01)
    assert skin.space.valid[50:60, 40:55].all()
    np.testing.assert_allclose(radius[50:60, 40:55], 80, atol=0.02)


def test_beyond_the_measured_rim_is_no_skin(fine, cap):
    skin = find_skin(fine, cap.mesh)
    assert not skin.space.valid[:, 96:].any()
    assert np.isfinite(skin.space.position).all()
    np.testing.assert_allclose(np.linalg.norm(skin.space.normal, axis=-1), 1, atol=1e-4)


def test_an_opening_without_base_mesh_stays_open(fine, cap):
    center = cap.mesh.uv[cap.mesh.faces].mean(1)
    open_mesh = cap.mesh.select_faces(np.max(np.abs(center - (0.37, 0.57)), -1) > 0.02)
    skin = find_skin(fine, open_mesh)
    assert not skin.space.valid[50:60, 40:55].all()
    assert skin.space.valid[50:60, 40:55].any()


def test_a_base_without_uvs_is_refused(fine, cap):
    with pytest.raises(ValueError, match="no UVs"):
        find_skin(fine, replace(cap.mesh, uv=None))
