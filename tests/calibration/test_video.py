"""Frames out of a video: the sharp ones, in order; damaged files are refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mesoface.calibration.video import extract_frames, is_video
from mesoface.errors import CaptureError


def _video(path: Path, frames: int, sharp_every: int = 3) -> Path:
    """A pattern that moves to the right; only each ``sharp_every``-th frame is not blurred."""
    pattern = np.random.default_rng(0).integers(0, 255, (96, 400, 3), np.uint8)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (128, 96))
    for number in range(frames):
        frame = pattern[:, number : number + 128]
        blur = number % sharp_every != sharp_every - 1
        writer.write(cv2.GaussianBlur(frame, (0, 0), 3) if blur else np.ascontiguousarray(frame))
    writer.release()
    return path


def test_the_sharp_frames_are_taken_in_order(tmp_path: Path) -> None:
    video = _video(tmp_path / "walk.avi", 90)
    files = extract_frames(video, tmp_path, 10)
    numbers = [int(path.stem.split("_")[1]) for path in files]
    assert len(files) == 30
    assert numbers == sorted(numbers)
    assert all(number % 3 == 2 for number in numbers)
    assert cv2.imread(str(files[0])).shape == (96, 128, 3)


def test_a_short_video_gives_all_its_frames(tmp_path: Path) -> None:
    assert len(extract_frames(_video(tmp_path / "short.avi", 5), tmp_path, 30)) == 5


def test_two_frames_are_too_few(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="2 readable frames, at least three"):
        extract_frames(_video(tmp_path / "two.avi", 2), tmp_path, 30)


@pytest.mark.parametrize("content", [b"", b"RIFF" + bytes(200), bytes(range(256)) * 8])
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.mp4").write_bytes(content)
    assert is_video(tmp_path / "bad.mp4")
    with pytest.raises(CaptureError, match=r"bad\.mp4: (cannot be read as a video|claims|has 0 readable)"):
        extract_frames(tmp_path / "bad.mp4", tmp_path, 30)


def test_a_video_that_breaks_off_gives_what_it_has(tmp_path: Path) -> None:
    video = _video(tmp_path / "cut.avi", 60)
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    assert 3 <= len(extract_frames(video, tmp_path, 10)) < 30
