"""MediaPipe's face networks as two plain functions: find faces, and place 478 points on one.

The package's own ``FaceMesh`` decides by itself where it looks, and only near the face's size in the whole
photo; here the caller says where. Both networks come with the wheel and run on the CPU.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from mesoface.errors import needs
from mesoface.landmarks.crop import Crop
from mesoface.running.process import ignored_warnings, no_native_logs

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
