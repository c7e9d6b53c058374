"""Photos in a folder, a tar or a zip, with classes by folders, by a table, or by their names.

    root/train/CLASS/…  root/val/CLASS/…  root/test/CLASS/…   or other names of splits
    root/CLASS/…                            a share of every class is set aside for validation
    root/cat.1.jpg  root/dog.1.jpg          all in one folder, or in one folder for each split
    root/….jpg  root/labels.csv             a table says which photo is of which class

Archives are read as folders. Labels number the classes in sorted order; `class_names.csv` (rows of
`folder,name`) gives readable names. Contents decide what is an image.
"""

from pathlib import Path

from alexnet_jax.config import DataConfig
from alexnet_jax.errors import InputError
from alexnet_jax.preparation.file_trees.reading import open_archives, read_tree, stem_of
from alexnet_jax.preparation.file_trees.tree import Tree
from alexnet_jax.preparation.photo_folders.class_folders import may_be_photo
from alexnet_jax.preparation.photo_folders.labelling import label_photos
from alexnet_jax.preparation.photo_folders.links import resolve_links
from alexnet_jax.preparation.photo_folders.split_folders import SourceLayout, find_layout
from alexnet_jax.preparation.photo_folders.split_names import plain_split
from alexnet_jax.preparation.sources.listing import (
    Listing,
    SourceKind,
    unique_names,
    with_validation,
)

_MAX_NESTED_ARCHIVES = 3


def list_photos(data: DataConfig, work: Path) -> Listing:
    if not data.source:
        raise InputError("data.source is empty; give a folder, a tar or a zip of photos")
    root = Path(data.source)
    layout = find_layout(root, _with_archives(read_tree(root, work), work))
    photos, class_ids = label_photos(layout)
    photos = resolve_links(layout, photos)
    labels = {class_id: label for label, class_id in enumerate(class_ids)}
    splits = {
        split: [entry.image("/".join(entry.parts), labels[c]) for c, entry in labelled]
        for split, labelled in photos.items()
    }
    splits, held_out = with_validation(data, splits)
    if held_out:
        share = f"{data.validation_fraction:.0%}"
        layout.understood.append(f"{share} of every class are set aside for validation")
    return Listing(
        unique_names(_class_names(layout, class_ids), class_ids),
        tuple(class_ids),
        splits,
        dict(+layout.left_out),
        tuple(layout.understood),
        held_out,
    )


def _with_archives(tree: Tree, work: Path) -> Tree:
    """Opens archives, but not those next to folders of splits, which were unpacked from them."""
    for _ in range(_MAX_NESTED_ARCHIVES):
        archives = [e for e in tree.entries if stem_of(e.name)]
        if not archives:
            break
        outer = min(len(e.parts) for e in archives)
        archives = [e for e in archives if len(e.parts) == outer]
        splits = [e for e in archives if plain_split(stem_of(e.name))]
        tops = {e.parts[0] for e in tree.entries if len(e.parts) > 1 and may_be_photo(e.name)}
        if (tops and not splits) or any(map(plain_split, tops)):
            break
        tables = [e for e in archives if stem_of(e.name).lower().endswith((".csv", ".tsv"))]
        tree = open_archives(tree, splits + tables if splits else archives, work)
    return tree


def _class_names(layout: SourceLayout, class_ids: list[str]) -> list[str]:
    names = {class_id: class_id for class_id in class_ids}
    for folder in layout.splits.values():
        names |= {class_id: name for class_id, name in folder.class_names.items() if name}
    return [" ".join(names[class_id].split()) for class_id in class_ids]


SOURCE = SourceKind(
    list_photos,
    how_to_get=(
        "its images in a folder, tar or zip, as train/CLASS/* and test/CLASS/* or CLASS/* "
        "(`python -m alexnet_jax.main presets` says from where)"
    ),
    options=("validation_fraction", "copies"),
)
