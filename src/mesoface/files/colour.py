"""How bright a colour is: two standards, for two kinds of numbers."""

from __future__ import annotations

import numpy as np

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue as photos store them, gamma-coded (ITU-R BT.601)."""

LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""Weights of linear light in sRGB's primaries (ITU-R BT.709)."""
