"""MediaPipe's face networks as two plain functions: find faces, and place 478 points on one.

The package's own ``FaceMesh`` decides where it looks, and only near the face's size in the whole photo; here
the caller passes a :class:`Crop`. Both networks come with the wheel and run on the CPU.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mesoface.errors import needs
from mesoface.running.process import ignored_warnings, no_native_logs

Array = NDArray[np.float64]

FOREHEAD, CHIN = 10, 152  # of the 478 points: both in the plane of symmetry, so seen from everywhere
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
        up = points[FOREHEAD] - points[CHIN]
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
        for detector in (self._near, self._far):
            detections = detector.process(cut).detections
            if detections:
                break
        else:
            return []
        faces = []
        for detection in detections:
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
