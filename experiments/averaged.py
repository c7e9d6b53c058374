"""What the views of recorded tests are called: as many as were averaged, not as were asked for.

Records keep their keys (`test_views` 10, `error_ten_views`), whatever came of them.
"""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from alexnet_jax.config import Config
from alexnet_jax.evaluation.views import averaged_views
from alexnet_jax.network.layers import Network
from alexnet_jax.network.networks import NETWORKS


def views_of(config: Config, network: Network | None = None) -> str:
    """Returns what the ten views of an experiment's test are called, e.g. "five crops".

    Args:
      config: of an experiment whose set is stored as it says.
      network: where the package does not have it.
    """
    size = config.image_size or (network or NETWORKS[config.network]).image_size
    return averaged_views(config.data.stored_size, size, 10, config.augment.mirror).name


def views_in(record: Mapping[str, Any]) -> str:
    """Returns the same of a run of which `collect` has written a record."""
    return views_of(Config.from_json(json.dumps(record["config"])))


def heading(names: Mapping[str, str]) -> str:
    """Returns a heading for tests together: "ten views", or "ten views (digits: five crops)".

    Args:
      names: what the views of each are called.
    """
    (usual, _), *_ = Counter(names.values()).most_common(1)
    others = ", ".join(f"{one}: {name}" for one, name in names.items() if name != usual)
    return f"{usual} ({others})" if others else usual
