"""Names of the views of a recorded test: how many were averaged, not how many were asked for."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from alexnet_jax.config import Config
from alexnet_jax.evaluation.views import averaged_views
from alexnet_jax.network.layers import Network
from alexnet_jax.network.networks import NETWORKS


def view_name(config: Config, network: Network | None = None) -> str:
    """Returns the name of the ten views of an experiment's test, e.g. "five crops"."""
    size = config.image_size or (network or NETWORKS[config.network]).image_size
    return averaged_views(config.data.stored_size, size, 10, config.augment.mirror).name


def view_name_of_record(record: Mapping[str, Any]) -> str:
    """Returns `view_name` of a run whose record `collect` has written."""
    return view_name(Config.from_json(json.dumps(record["config"])))


def common_heading(names: Mapping[str, str]) -> str:
    """Returns one heading for several tests, e.g. "ten views (digits: five crops)"."""
    (usual, _), *_ = Counter(names.values()).most_common(1)
    others = ", ".join(f"{test}: {name}" for test, name in names.items() if name != usual)
    return f"{usual} ({others})" if others else usual
