"""The learned matcher's weights of an earlier revision in today's network, to go on training from.

    python scripts/grow_matcher.py old.safetensors new.safetensors

Up to revision 25c6e1d the network did not see the classical matcher's answer and had no refinement. What it
had learned stays; inputs that are new count nothing yet, parts that are new are at their start.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from mesoface.lab.training.checkpoint import save_tensors
from mesoface.matching.learned import SurfaceMatcher


def main() -> None:
    """Read, grow, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    network = SurfaceMatcher()
    network.start_from_classical()
    save_tensors(arguments.new, grown(load_file(arguments.old), network))
    print(f"weights: {arguments.new}")


def grown(old: dict[str, Tensor], network: SurfaceMatcher) -> dict[str, Tensor]:
    """The state of ``network`` with everything in it that ``old`` knows."""
    state = network.state_dict()
    for name, value in state.items():
        if name in old and name.split(".")[0] != "refinement":
            value.zero_()
            value[tuple(slice(size) for size in old[name].shape)] = old[name]
    return state


if __name__ == "__main__":
    main()
