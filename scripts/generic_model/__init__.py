"""The steps by which the embedded face model is measured and built; see ../measure_landmarks.py."""
