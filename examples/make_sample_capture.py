"""Make examples/sample_capture anew (half a minute): ``python examples/make_sample_capture.py [FOLDER]``.

The folder holds eight photos of a synthetic face, drawn from the embedded face model, and its true
surface. A change of the face model or of the synthesis changes the face.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mesoface.lab.synthesis.capture import synthesize
from mesoface.lab.synthesis.settings import SynthesisSettings
from mesoface.running.progress import progress_bars

README = """# Sample capture

Eight synthetic photos in FaceScape's layout (`params.json`, `0.jpg` …), made by
`examples/make_sample_capture.py` from mesoface's embedded face model: nobody is shown. `gt.ply` is the true
face in the cameras' world, in millimetres; `truth.json` says how the capture was made and how far `gt.ply` is
from the surface that was photographed.
"""


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "sample_capture"
    with progress_bars() as progress:
        synthesize(
            folder,
            seed=35,
            settings=SynthesisSettings(
                views=8, width=640, height=960, detail_mm=0.6, truth_mm=1.6, jpeg_quality=92
            ),
            overwrite=True,
            progress=progress,
        )
    (folder / "README.md").write_text(README, encoding="utf-8")
    print(f"{folder}: {sum(path.stat().st_size for path in folder.iterdir()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
