"""Landmarks from MediaPipe's face mesh (478 points): found, checked between the views, refined.

The package's own ``FaceMesh`` decides where it looks, and only near the face's size in the whole photo; here
its two networks are plain functions (:class:`FaceNetworks`) of a part of a photo (:class:`Crop`): find faces,
and place 478 points on one. Both come with the wheel and run on the CPU.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.captures.capture import Capture
from mesoface.errors import LandmarkError, needs
from mesoface.geometry.camera import Camera
from mesoface.landmarks.selection import choose_main_face, face_size, most_prominent, without_doubles
from mesoface.landmarks.triangulation import closest_points_to_rays, facing_weight, landmark_normals
from mesoface.landmarks.types import Landmarks2D
from mesoface.running.process import ignored_warnings, no_native_logs
from mesoface.running.progress import ProgressCallback, silent

Array = NDArray[np.float64]
Pixels = NDArray[np.uint8]

SCHEME, COUNT = "mediapipe478", 478
_FOREHEAD, _CHIN = 10, 152  # both in the plane of symmetry, so seen from everywhere
_INPUT_SIZE = 192  # of the landmark network
_LANDMARK_GRAPH = """
input_stream: "image"
input_stream: "roi"
output_stream: "landmarks"
input_side_packet: "with_attention"
node {
  calculator: "FaceLandmarkCpu"
  input_stream: "IMAGE:image"
  input_stream: "ROI:roi"
  input_side_packet: "WITH_ATTENTION:with_attention"
  output_stream: "LANDMARKS:landmarks"
}
"""
_MARGIN = 1.35  # of the crop around the landmarks; measured on real photos, see benchmarks/landmarks.py
# The network's answer varies by up to 1 % of the face with the crop: we take the mean over a few crops, and
# their spread is the uncertainty. (shift in sides, scale, turn in radians)
_JITTER = (
    ((0.0, 0.0), 1.0, 0.0),
    ((0.03, 0.01), 0.93, 0.10),
    ((-0.03, -0.01), 1.07, -0.10),
    ((0.01, -0.03), 1.10, 0.05),
    ((-0.01, 0.03), 0.96, -0.05),
    ((0.02, 0.02), 1.04, -0.14),
    ((-0.02, -0.02), 0.99, 0.14),
    ((0.0, 0.0), 1.14, 0.0),
)
_TILES = (0.6, 0.35)  # sides of the squares searched for a small face, in shares of the longer image side
_SEEN, _HIDDEN = 0.35, -0.25  # cosine between skin and view: above it a point counts fully, below not at all
# The face detector takes a textured ball for a face with a score of up to 0.73; real faces up to 60° from the
# front score 0.8 and more. Below that the landmarks must be steady: on faces their spread is at most 0.013.
_CERTAIN, _STEADY = 0.78, 0.0145
_SURE = 0.012  # spread over the crops, in face sizes, at which a point's weight halves


class MediapipeDetector:
    """The landmarks of the main face in each view, on the CPU and without a download.

    Each photo is searched whole; a photo without a face is searched where the other views say the face must
    be, then turned by quarters, then in parts. Landmarks are placed again in several crops around the face.

    Args:
        progress: called for every view.
    """

    scheme = SCHEME

    def __init__(self, progress: ProgressCallback = silent):
        self._progress = progress

    @cached_property
    def _networks(self) -> FaceNetworks:
        return FaceNetworks()

    def detect(self, capture: Capture) -> Landmarks2D:
        """Find the face of ``capture``.

        Returns:
            (V, 478) points. Weights fall to 0 for points on the side of the face that is turned away (the
            network guesses them) and with the spread of the network's answers.

        Raises:
            LandmarkError: fewer than two views show a face.
        """
        images = [np.rint(view.image * 255).astype(np.uint8) for view in capture.views]
        found = self._find_everywhere(images, capture.cameras)
        chosen = choose_main_face(capture.cameras, found)
        notes = _describe(capture, found, chosen)
        faces = [None if i is None else found[v][i] for v, i in enumerate(chosen)]
        if sum(face is not None for face in faces) < 2:
            raise _too_few(capture, faces)

        refined = []
        for v, (image, face) in enumerate(zip(images, faces, strict=True)):
            refined.append(self._refine(image, face))
            self._progress("landmarks", v + 1, len(images))
        return _landmarks(refined, notes)

    def detect_uncalibrated(self, images: Iterable[Pixels], names: Sequence[str]) -> Landmarks2D:
        """Find the face in each photo on its own, without cameras that relate the photos.

        Args:
            images: (H, W, 3) RGB photos, one after another; no two are held at a time.
            names: of the photos, for notes.

        Returns:
            (V, 478) points, as :meth:`detect`. Of several faces the most prominent one is taken. No face in
            any photo is not an error here.
        """
        refined, notes = [], []
        for v, (image, name) in enumerate(zip(images, names, strict=True)):
            faces: list[Array] = []
            for places in (_upright, _turned, _tiles):
                faces = faces or self._search(image, places(image))
            if len(faces) > 1:
                notes.append(f"photo {name}: {len(faces)} faces; the larger and more central one was taken")
            i = most_prominent(faces, image.shape[1], image.shape[0])
            refined.append(self._refine(image, None if i is None else faces[i]))
            self._progress("landmarks", v + 1, len(names))
        return _landmarks(refined, notes)

    def _find_everywhere(self, images: Sequence[Pixels], cameras: Sequence[Camera]) -> list[list[Array]]:
        """Per view the faces in it, (478, 3) landmarks each, by ever more costly means."""
        found = [self._search(image, _upright(image)) for image in images]
        for more in (_turned, _tiles):
            self._search_by_cameras(images, cameras, found)
            for v, image in enumerate(images):
                if not found[v]:
                    found[v] = self._search(image, more(image))
        self._search_by_cameras(images, cameras, found)
        return found

    def _search(self, image: Pixels, places: Sequence[Crop]) -> list[Array]:
        faces = []
        for place in places:
            for crop, score in self._networks.find(image, place):
                face = self._networks.place(image, crop)
                if face is not None and (score >= _CERTAIN or self._is_steady(image, face)):
                    faces.append(face)
        return without_doubles(faces)

    def _is_steady(self, image: Pixels, face: Array) -> bool:
        """Whether the landmarks stay when the crop moves a little, as they do on faces only."""
        crop = Crop.around(face[:, :2], _MARGIN)
        answers = [self._networks.place(image, crop.jittered(*jitter)) for jitter in _JITTER[:5]]
        placed = [answer for answer in answers if answer is not None]
        return len(placed) == len(answers) and float(np.median(_spread(np.stack(placed)))) < _STEADY

    def _search_by_cameras(
        self, images: Sequence[Pixels], cameras: Sequence[Camera], found: list[list[Array]]
    ) -> None:
        """Look for the face of the other views where they predict it (a profile, for example)."""
        missing = [v for v, faces in enumerate(found) if not faces]
        chosen = choose_main_face(cameras, found)
        seen = [v for v, i in enumerate(chosen) if i is not None]
        if not missing or len(seen) < 2:
            return
        keypoints = np.stack([found[v][chosen[v]][:, :2] for v in seen])  # type: ignore[index]
        head = closest_points_to_rays([cameras[v] for v in seen], keypoints)
        if not np.isfinite(head).all():
            return
        normals = landmark_normals(head, SCHEME, np.zeros(3))
        for v in missing:
            pixels, depth = cameras[v].project(head)
            towards = cameras[v].center - head.mean(0)
            inside = (np.abs(pixels / (cameras[v].width, cameras[v].height) - 0.5) < 0.5).all(-1)
            if (depth <= 0).any() or normals.mean(0) @ towards < 0 or inside.mean() < 0.5:
                continue  # behind the camera, the back of the head, or out of the picture
            face = self._networks.place(images[v], Crop.around(pixels, _MARGIN))
            # the network also answers where there is no face: the answer must lie where we looked
            reach = 0.15 * face_size(pixels)
            if face is not None and np.linalg.norm(face[:, :2] - pixels, axis=1).mean() < reach:
                found[v] = [face]

    def _refine(self, image: Pixels, face: Array | None) -> tuple[Array, Array]:
        """Landmarks (478, 2) and weights (478,) as the mean over several crops around ``face`` (478, 3).

        NaN and 0 where there is no face.
        """
        if face is None:
            return np.full((COUNT, 2), np.nan), np.zeros(COUNT)
        again = self._networks.place(image, Crop.around(face[:, :2], _MARGIN))
        crop = Crop.around((face if again is None else again)[:, :2], _MARGIN)
        answers = [self._networks.place(image, crop.jittered(*jitter)) for jitter in _JITTER]
        placed = np.stack([answer for answer in answers if answer is not None] or [face])
        mean = placed.mean(0)
        spread = _spread(placed)
        facing = -landmark_normals(mean, SCHEME, np.zeros(3))[:, 2]  # towards the camera
        weights = facing_weight(facing, _HIDDEN, _SEEN) / (1 + (spread / _SURE) ** 2)
        return mean[:, :2], weights


def _landmarks(refined: Sequence[tuple[Array, Array]], notes: Iterable[str]) -> Landmarks2D:
    """Points and weights of each view as one."""
    points, weights = map(np.stack, zip(*refined, strict=True))
    return Landmarks2D(points, weights, SCHEME, tuple(notes))


def _spread(placed: Array) -> Array:
    """(478,) mean distance of several answers (K, 478, 3) from their mean, in face sizes."""
    mean = placed.mean(0)
    return np.linalg.norm(placed[..., :2] - mean[:, :2], axis=-1).mean(0) / face_size(mean)


def _upright(image: Pixels) -> list[Crop]:
    return [Crop.whole(image)]


def _turned(image: Pixels) -> list[Crop]:
    return [Crop.whole(image, angle) for angle in (np.pi / 2, -np.pi / 2, np.pi)]


def _tiles(image: Pixels) -> list[Crop]:
    """Half-overlapping squares over the image, large ones first."""
    height, width = image.shape[:2]
    crops = []
    for share in _TILES:
        side = share * max(height, width)
        for y in np.linspace(side / 2, max(side / 2, height - side / 2), _steps(height, side)):
            for x in np.linspace(side / 2, max(side / 2, width - side / 2), _steps(width, side)):
                crops.append(Crop(np.array([x - 0.5, y - 0.5]), side))
    return crops


def _steps(length: int, side: float) -> int:
    return max(1, int(np.ceil(2 * length / side)) - 1)


def _describe(capture: Capture, found: Sequence[Sequence[Array]], chosen: Sequence[int | None]) -> list[str]:
    notes = []
    for view, faces, i in zip(capture.views, found, chosen, strict=True):
        if i is None:
            notes.append(f"view {view.name}: no face found")
        elif len(faces) > 1:
            notes.append(
                f"view {view.name}: {len(faces)} faces; the one on which the views agree best was taken "
                "(the larger and more central where that does not decide)"
            )
    return notes


def _too_few(capture: Capture, faces: Sequence[Array | None]) -> LandmarkError:
    seen = [name for name, face in zip(capture.names, faces, strict=True) if face is not None]
    what = f"a face was found only in view {seen[0]}" if seen else "no face was found in any view"
    return LandmarkError(
        f"{what} of {len(faces)} ({', '.join(capture.names)}); at least two must show it",
        path=capture.path,
        remedy="use photos that show the face within about 60° of the front, or landmarks from a file",
    )


@dataclass(frozen=True, eq=False)
class Crop:
    """A square of ``side`` pixels around ``center``, turned by ``angle``.

    Args:
        center: (2,) pixels.
        side: pixels.
        angle: radians, from the photo's x axis to the square's, towards y.
    """

    center: Array
    side: float
    angle: float = 0.0

    @classmethod
    def whole(cls, image: NDArray[np.uint8], angle: float = 0.0) -> Crop:
        """The smallest square around the image."""
        height, width = image.shape[:2]
        return cls(np.array([(width - 1) / 2, (height - 1) / 2]), float(max(width, height)), angle)

    @classmethod
    def around(cls, points: Array, margin: float) -> Crop:
        """The upright square around a face.

        Args:
            points: (478, 2) landmarks, pixels.
            margin: side of the square over the larger side of the landmarks' bounding box.
        """
        up = points[_FOREHEAD] - points[_CHIN]
        angle = float(np.arctan2(up[0], -up[1]))
        axes = _rotation(angle)
        low, high = (points @ axes).min(0), (points @ axes).max(0)
        return cls(axes @ ((low + high) / 2), float((high - low).max()) * margin, angle)

    def jittered(self, shift: tuple[float, float], scale: float, angle: float) -> Crop:
        """Moved by ``shift`` sides along its own axes, scaled, turned further by ``angle``."""
        center = self.center + _rotation(self.angle) @ (self.side * np.asarray(shift))
        return Crop(center, self.side * scale, self.angle + angle)

    def cut(self, image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
        """(size, size, 3) resampled; averaged over the pixels' area when shrunk, black outside."""
        factor = min(max(1, round(self.side / size)), 3)
        fine = size * factor
        # pixel j of the cut has its centre at (j + 0.5) / fine of the square
        axes = _rotation(self.angle) * (self.side / fine)
        offset = self.to_image(np.full((1, 2), 0.5 / fine))[0]
        matrix = np.column_stack([axes, offset])
        cut = cv2.warpAffine(image, matrix, (fine, fine), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        return cv2.resize(cut, (size, size), interpolation=cv2.INTER_AREA) if factor > 1 else cut

    def to_image(self, points: Array) -> Array:
        """(N, 2) in [0, 1]² of the square → pixels of the photo."""
        return self.center + (np.asarray(points) - 0.5) @ _rotation(self.angle).T * self.side


def _rotation(angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])


class FaceNetworks:
    """The detector and the landmark network, loaded once. Not to be shared between threads."""

    def __init__(self) -> None:
        os.environ.setdefault("GLOG_minloglevel", "2")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with no_native_logs, ignored_warnings():  # there is no switch that covers all of it
            needs("mediapipe", "it finds the face")
            from mediapipe.framework.formats.rect_pb2 import NormalizedRect
            from mediapipe.python.solution_base import SolutionBase
            from mediapipe.python.solutions.face_detection import FaceDetection

            self._near = FaceDetection(model_selection=0, min_detection_confidence=0.4)
            self._far = FaceDetection(model_selection=1, min_detection_confidence=0.4)
            self._landmarks = SolutionBase(
                graph_config=_LANDMARK_GRAPH, side_inputs={"with_attention": True}, outputs=["landmarks"]
            )
            self._everything = NormalizedRect(x_center=0.5, y_center=0.5, width=1.0, height=1.0, rotation=0.0)
            blank = np.zeros((_INPUT_SIZE, _INPUT_SIZE, 3), np.uint8)
            whole = Crop.whole(blank)
            self.find(blank, whole)  # the first run is the one that logs
            self.place(blank, whole)

    def find(self, image: NDArray[np.uint8], where: Crop, size: int = 512) -> list[tuple[Crop, float]]:
        """Faces in a part of a photo, by the short-range detector and, if that sees none, the full-range one.

        Args:
            image: (H, W, 3) RGB.
            where: the part to look at, at whose angle the face stands upright (±45°).
            size: pixels that part is resampled to.

        Returns:
            for each an upright square of 1.5 times the face's size, as :meth:`place` wants it, and the
            detector's score in [0, 1].
        """
        cut = where.cut(image, size)
        detections = self._near.process(cut).detections or self._far.process(cut).detections
        faces = []
        for detection in detections or ():
            box = detection.location_data.relative_bounding_box
            eyes = np.array([[p.x, p.y] for p in detection.location_data.relative_keypoints[:2]])
            across = eyes[1] - eyes[0]
            middle = np.array([[box.xmin + box.width / 2, box.ymin + box.height / 2]])
            side = 1.5 * max(box.width, box.height) * where.side
            turn = where.angle + float(np.arctan2(across[1], across[0]))
            faces.append((Crop(where.to_image(middle)[0], side, turn), float(detection.score[0])))
        return faces

    def place(self, image: NDArray[np.uint8], where: Crop) -> NDArray[np.float64] | None:
        """The 478 landmarks of the face that fills ``where``.

        Args:
            image: (H, W, 3) RGB.
            where: upright square of 1.25 to 1.6 times the face's size.

        Returns:
            (478, 3): x, y in pixels of the photo and the network's guess of the depth behind the head's
            middle on the same scale; None where it sees no face.
        """
        result = self._landmarks.process(
            {"image": where.cut(image, _INPUT_SIZE), "roi": self._everything}
        ).landmarks
        if result is None:
            return None
        points = np.array([[p.x, p.y, p.z] for p in result.landmark])
        return np.column_stack([where.to_image(points[:, :2]), points[:, 2] * where.side])
