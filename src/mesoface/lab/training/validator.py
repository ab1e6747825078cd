"""What is done at a validation: measure, draw, write the weights."""

from __future__ import annotations

from PIL import Image

from mesoface.files.atomic import atomic_file
from mesoface.lab.training.baseline import classical_answer
from mesoface.lab.training.card import described, network_name, save_network, training_card
from mesoface.lab.training.config import TrainingConfig
from mesoface.lab.training.data import validation_tiles
from mesoface.lab.training.interrupt import StopRequest
from mesoface.lab.training.log import Log
from mesoface.lab.training.recipe import Recipe, Stage
from mesoface.lab.training.tile import Tile
from mesoface.lab.training.validation import Answer, answers, figures, in_words, picture

PICTURE = "validation.png"


class Validator:
    """Measures a network on the configuration's validation tiles, which are read or made the first time.

    Args:
        config: of the run.
        stage: what is trained.
        recipe: the network, and how its answer is read.
        log: where figures go.
        stop: a validation is left unfinished when it is asked to stop.
    """

    def __init__(self, config: TrainingConfig, stage: Stage, recipe: Recipe, log: Log, stop: StopRequest):
        self._config, self._stage, self._recipe, self._log, self._stop = config, stage, recipe, log, stop
        self._tiles: list[Tile] = []
        self._classical: dict[str, float] = {}

    def validate(self, step: int, seconds: float) -> None:
        """Measure the network after ``step`` steps that took ``seconds``, unless that is done."""
        if self._log.last_validation == step:
            return
        self._prepare()
        network = self._recipe.network.train(False)
        found = answers(self._recipe, self._tiles, self._stop, self._log.progress)
        network.train()
        if found is None:
            return
        measured = figures(found)
        card = training_card(
            self._config,
            network,
            name=network_name(self._config, self._stage),
            stage=self._stage,
            data=[described(source) for source in self._config.data],
            steps=step,
            seconds=seconds,
            figures=measured | self._classical,
        )
        save_network(self._config.out, network, card)
        with atomic_file(self._config.out / PICTURE) as temporary:
            Image.fromarray(picture(found)).save(temporary)
        # last: with it this validation is done
        self._log.validation(step, measured, in_words(measured), f"error {measured['mean_mm']:.4f} mm")

    def _prepare(self) -> None:
        """Tiles, and what the classical matcher makes of them."""
        if self._tiles:
            return
        wanted = self._config.validation
        self._tiles = validation_tiles(wanted.sources, wanted.tiles, self._log.progress)
        found: list[Answer] = []
        for tile in self._tiles:
            self._log.progress("classical matcher", len(found), len(self._tiles))
            classical = classical_answer(tile)
            found.append(Answer(tile, classical.displacement, classical.weight))
        self._log.progress("classical matcher", len(found), len(self._tiles))
        measured = figures(found)
        self._classical = {f"classical_{name}": value for name, value in measured.items()}
        self._log.say(f"classical matcher on them: {in_words(measured)}")
