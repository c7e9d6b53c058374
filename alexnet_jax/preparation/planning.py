"""Cuts a source into shards, and records the plan while it is being carried out."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from alexnet_jax.config import DataConfig
from alexnet_jax.data.prepared import WORK
from alexnet_jax.data.versions import PLAN, number_of
from alexnet_jax.display import Display
from alexnet_jax.errors import DataError
from alexnet_jax.preparation import storage
from alexnet_jax.preparation.set_options import described_options
from alexnet_jax.preparation.sources.listing import Listing
from alexnet_jax.preparation.splitting import shuffled
from alexnet_jax.preparation.storage import BadImages, Shard, Storage

_SHARD_BYTES = 256 * 1024**2
_MIN_IMAGES, _MAX_IMAGES = 32, 4096  # of a shard
_PARTS = 16  # of a split that is not small: enough to keep some workers busy until the end
_SPLIT_ORDER = ("train", "validation", "test")


def plan_shards(data: DataConfig, listing: Listing, bad_images: BadImages) -> list[Shard]:
    """Cuts a source into shards, the same on every machine; only training images are shuffled."""
    image_bytes = 3 * data.stored_size**2 // (1 if data.store == "raw" else 5) + 64
    max_images = max(1, min(_MAX_IMAGES, _SHARD_BYTES // image_bytes))
    shards = []
    for split in sorted(listing.splits, key=_SPLIT_ORDER.index):
        images = listing.splits[split]
        if split == "train":
            images = shuffled(images)
        length = min(max_images, max(_MIN_IMAGES, len(images) // _PARTS))
        count = -(-len(images) // length)
        for index in range(count):
            part = images[index * len(images) // count : (index + 1) * len(images) // count]
            file = storage.shard_file(data.name, split, index, count)
            shards.append(Shard(file, split, part, bad_images))
    return shards


def check_plan(
    folder: Path, data: DataConfig, listing: Listing, shards: Sequence[Shard], display: Display
) -> None:
    digest = hashlib.sha256(json.dumps(listing.class_names).encode())
    for shard in shards:
        digest.update(f"{shard.file}\n".encode())
        for image in shard.images:
            digest.update(f"{image.label} {image.size} {image.key}\n".encode())
    plan = {
        "set": [data.name, number_of(folder, data.name)],
        "options": described_options(data),
        "images": digest.hexdigest(),
    }
    path = folder / WORK / PLAN
    if path.exists():
        begun = json.loads(path.read_text("utf-8"))
        if begun["options"] != plan["options"]:
            raise DataError(
                f"{folder} holds the unfinished preparation of another source or of other options "
                f"({begun['options']}); remove that folder or choose another --name"
            )
        if begun["images"] == plan["images"]:
            return
        display.say("the source has changed since the interruption; starting again")
        for stale in (*folder.glob("*.array_record-*"), *path.parent.glob("*.npz")):
            stale.unlink()
    storage.write_json(path, plan)


def check_space(folder: Path, images: int, stored: Storage) -> None:
    needed = images * stored.stored_size**2 * 3 // (1 if stored.store == "raw" else 12)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"{folder} needs about {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; choose "
            "another --data-dir" + (", or store JPEG" if stored.store == "raw" else "")
        )
