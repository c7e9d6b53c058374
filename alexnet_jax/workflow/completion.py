"""A configuration is completed with what depends on the photos."""

import dataclasses
from collections.abc import Collection
from pathlib import Path

from alexnet_jax import processes, recipes
from alexnet_jax.config import Config
from alexnet_jax.display import Display
from alexnet_jax.errors import InputError
from alexnet_jax.network.layers import parametric_layers
from alexnet_jax.preparation.survey import survey
from alexnet_jax.runs.record import RunRecord
from alexnet_jax.runs.run_folder import Run
from alexnet_jax.source_kinds import SOURCE_KINDS


def complete(
    config: Config,
    record: RunRecord | None,
    source: Run | None,
    data_dir: Path,
    display: Display,
    typed: Collection[str],
) -> Config:
    """Returns the configuration with the split and the recipe that it leaves to the photos.

    Process 0 chooses for all; the run of `record` keeps its choices. Fields in `typed` are kept
    even where they equal the preset.

    Raises:
      InputError, DataError: there is no usable source of photos.
    """
    is_open = recipes.is_open(config)
    # TensorFlow is not wanted in this process.
    unlisted = SOURCE_KINDS[config.data.source_kind].loads_tensorflow
    if is_open and unlisted:
        raise InputError(
            "--network auto is for folders and tars of photos; name a network, or prepare the set "
            "and give its name as --data.name"
        )
    if not is_open and (unlisted or not recipes.tests_on_any(config, typed)):
        return config

    def choose() -> Config:
        if record is None:
            return _choose_for_photos(config, source, data_dir, display, typed)
        if record.config.preset != config.preset:
            return config  # it is refused: a run of another preset is no run of these photos
        return recipes.resume_recipe(config, record.config, typed)

    chosen = processes.chief_first(choose, lambda: config)
    chosen = processes.from_chief(chosen, dataclasses.asdict, Config.from_dict)
    # What may differ between machines stays this one's.
    data = dataclasses.replace(
        chosen.data,
        source=config.data.source or chosen.data.source,
        cache_bytes=config.data.cache_bytes,
    )
    return dataclasses.replace(chosen, workers=config.workers, data=data)


def _choose_for_photos(
    config: Config, source: Run | None, data_dir: Path, display: Display, typed: Collection[str]
) -> Config:
    trunk = source and _trunk(source)
    likely = recipes.chosen(config, 0, (), 1.0, trunk=trunk, typed=typed)
    found = survey(config.data, likely.data, data_dir)
    if found is None:  # nothing can be prepared; the error of that says what is missing
        return likely
    recipe = recipes.chosen(
        config, found.train_images, found.counts, found.imbalance, found.stored, trunk, typed
    )
    for line in found.lines():
        display.say(line)
    for line in found.doubts():
        display.warn(line)
    if recipes.is_open(config):
        display.say(recipes.described(recipe))
    elif recipe != config:
        split = f"'{recipe.data.validation_split}': there is no other to test"
        display.warn(f"split       rates and best checkpoint follow {split}")
    return recipe


def _trunk(run: Run) -> recipes.Trunk:
    layers = [layer.name for layer in parametric_layers(run.network.layers)]
    learned = run.info.get("import", {}).get("layers", {}).get("imported", layers)
    return recipes.Trunk(
        run.config.network, run.image_size, run.stored_size, run.config.preprocess, tuple(learned)
    )
