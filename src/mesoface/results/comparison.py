"""What a result's own maps add to an evaluation: both surfaces by band, and its stated uncertainty."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mesoface.errors import MesofaceError
from mesoface.evaluation import (
    BandAgreement,
    Evaluation,
    UncertaintyCalibration,
    agreement_by_band,
    calibrate_uncertainty,
    cheeks,
)
from mesoface.evaluation.bands import BANDS
from mesoface.geometry.mesh import Mesh
from mesoface.results.face import Face, texels_of
from mesoface.uvd.maps import dilate

_SAMPLES = 100_000  # texels that are compared at most


def measured_mesh(face: Face) -> Mesh:
    """The part of ``face.surface`` that was measured: without texels that were filled.

    Raises:
        MesofaceError: nothing was measured.
    """
    if face.fine is None:
        raise MesofaceError("the result has no measured surface", remedy="reconstruct with --until fine")
    return face.surface.measured_part()


def cheek_bands(face: Face, evaluation: Evaluation) -> tuple[BandAgreement, ...]:
    """The roughness of the cheeks by wavelength, beside that of the surface ``face`` was measured against.

    Args:
        face: the prediction.
        evaluation: of it.

    Returns:
        one for each of :data:`.bands.BANDS`; nothing where the cheeks are not known (see :func:`.cheeks`).
    """
    if face.fine is None:
        return ()
    fine = face.fine
    position = fine.space.displaced(fine.displacement)
    measured = fine.measured
    region = cheeks(position, measured, face.landmarks3d)
    if not region.any():
        return ()
    around = measured & dilate(region, round(BANDS[-1][1] / fine.space.texel_mm))
    surface = evaluation.truth.surface
    closest = surface.closest(evaluation.alignment.apply(position[around]))
    other = np.zeros_like(position)
    other[around] = evaluation.alignment.inverse().apply(closest.points)
    both = around.copy()
    both[around] = ~surface.on_boundary(closest)
    return agreement_by_band(position, other, both, region)


def face_uncertainty(
    face: Face, evaluation: Evaluation, other: Face | None = None
) -> UncertaintyCalibration | None:
    """The calibration of the uncertainty that a result states.

    Args:
        face: the prediction.
        evaluation: of it.
        other: the result whose surface ``face`` was measured against, where that is no truth: then the
            uncertainties of both add up in quadrature, and errors that both share are not seen.

    Returns:
        None where one of the results states none.

    Raises:
        MesofaceError: an uncertainty is stated nowhere on the surface, is negative, or does not fit the mesh.
    """
    stated = _stated(face, face.surface)
    if stated is None or (other is not None and other.uncertainty is None):
        return None
    known = np.flatnonzero(np.isfinite(stated) & (stated != 0))
    known = known[:: 1 + len(known) // _SAMPLES]
    points = evaluation.alignment.apply(face.surface.vertices[known])
    deviation = evaluation.truth.deviation(points)
    error = np.where(deviation.counted, deviation.signed, np.nan)
    sigma = evaluation.alignment.scale * stated[known]
    if other is not None:
        surface = evaluation.truth.surface
        closest = surface.closest(points)
        theirs = _stated(other, surface.mesh)
        assert theirs is not None
        theirs = np.where(theirs > 0, theirs, np.nan)[surface.mesh.faces[closest.face]]
        sigma = np.hypot(sigma, np.einsum("nk,nk->n", closest.bary, theirs))
    try:
        return calibrate_uncertainty(sigma, error)
    except ValueError as failure:
        remedy = "write the result again, or remove its uncertainty.exr"
        raise MesofaceError(f"uncertainty.exr: {failure}", remedy=remedy) from failure


def _stated(face: Face, mesh: Mesh) -> NDArray[np.float64] | None:
    """(N,) the uncertainty at the vertices of ``mesh``, a part of the face's surface, or None."""
    if face.uncertainty is None:
        return None
    try:
        row, column = texels_of(mesh, len(face.uncertainty))
    except ValueError as failure:
        what = f"uncertainty.exr does not fit the surface ({failure})"
        raise MesofaceError(what, remedy="write the result again") from failure
    return face.uncertainty[row, column].astype(np.float64)
