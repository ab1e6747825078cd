"""A pool of squares cut from pairs of texture and displacement map."""

from __future__ import annotations

import hashlib
import json

from mesoface.lab.training.config import PairSource, ReliefConfig
from mesoface.lab.training.relief.pair_squares import cut_squares
from mesoface.lab.training.relief.pairs import Pair, find_pairs
from mesoface.lab.training.relief.pool import PoolFile, SquarePool, fill_pool
from mesoface.running.progress import ProgressCallback, silent

# To be raised whenever `cut_squares` cuts other squares of the same files.
_GENERATION = 1


def pair_pool(source: PairSource, config: ReliefConfig, progress: ProgressCallback = silent) -> SquarePool:
    """The squares of a source, as evenly of its pairs as can be; cut first where they are not there.

    Raises:
        MesofaceError: pairs are missing or not what they should be, or squares cannot be written.
    """
    pairs = find_pairs(source.folder)[: source.squares]
    recipe = {
        "format": "mesoface pairs",
        "generation": _GENERATION,
        "squares": source.squares,
        "seed": source.seed,
        "size": config.size,
        "texel_mm": source.texel_mm,
        "map_texel_mm": source.map_texel_mm,
        "pairs": {pair.name: _sizes(pair) for pair in pairs},
    }
    digest = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:12]
    folder = config.cache / f"pairs-{digest}"
    files = []
    for number, pair in enumerate(pairs):
        count = source.squares // len(pairs) + (number < source.squares % len(pairs))
        arguments = (pair, count, config.size, source.texel_mm, source.map_texel_mm, (source.seed, number))
        files.append(PoolFile(folder / f"{number:06d}.safetensors", cut_squares, arguments, count))
    fill_pool(folder, files, recipe, workers=config.machine.workers, progress=progress)
    contents = f"{source.squares} squares of {len(pairs)} pairs in {source.folder.name} ({digest})"
    return SquarePool(files, source.squares, config.size, source.texel_mm, contents)


def _sizes(pair: Pair) -> list[int]:
    """Bytes of its files: tells that they are the ones that squares were cut from, nearly for sure."""
    return [path.stat().st_size for path in (pair.texture, pair.dpmap, pair.mesh) if path is not None]
