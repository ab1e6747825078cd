"""Cameras from the photos themselves: structure from motion, or the face's landmarks."""

from mesoface.calibration.calibrate import Calibration, calibrate
from mesoface.calibration.settings import CalibrationSettings
from mesoface.calibration.solution import Verdict

__all__ = ["Calibration", "CalibrationSettings", "Verdict", "calibrate"]
