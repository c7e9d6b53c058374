"""Photos in a folder, a tar or a zip, with classes by folders, by a table, or by their names.

    root/train/CLASS/…  root/val/CLASS/…  root/test/CLASS/…   `splits` has what else they are called
    root/CLASS/…                            a share of every class is set aside for validation
    root/cat.1.jpg  root/dog.1.jpg          in one heap, or in one for each split
    root/….jpg  root/labels.csv             a table says which photo is of which class

Folders that only wrap these are looked through, archives in the folder are read as folders.
Labels number the classes in sorted order. A file `class_names.csv` (rows of `folder,name`) beside
the class folders gives readable names. The content of a file decides whether it is an image, not
its name.
"""

from pathlib import Path

from alexnet_jax.config import DataConfig
from alexnet_jax.errors import InputError
from alexnet_jax.preparation.sources.archives import open_archives, read_tree, stem_of
from alexnet_jax.preparation.sources.labelling import label
from alexnet_jax.preparation.sources.layouts import may_be_photo
from alexnet_jax.preparation.sources.links import settle_links
from alexnet_jax.preparation.sources.source import Source, unique_names
from alexnet_jax.preparation.sources.split_names import split_name
from alexnet_jax.preparation.sources.splits import Layout, find_layout
from alexnet_jax.preparation.sources.tree import Tree
from alexnet_jax.preparation.splitting import hold_out

_MOST_LAYERS = 3


def list_images(data: DataConfig, work: Path) -> Source:
    """Lists the images of `data.source`, see the module's text.

    Raises:
      InputError: nothing there, or a file that is no archive.
      DataError: nothing tells the classes, or what does is not clear.
    """
    if not data.source:
        raise InputError("data.source is empty; give a folder, a tar or a zip of photos")
    root = Path(data.source)
    tree = _with_archives(read_tree(root, work), work)
    layout = find_layout(root, tree)
    splits, ids = label(layout)
    splits = settle_links(layout, splits)
    labels = {class_id: index for index, class_id in enumerate(ids)}
    records = {
        split: [entry.record("/".join(entry.parts), labels[c]) for c, entry in photos]
        for split, photos in splits.items()
    }
    names = _read_names(layout, ids)
    held_out = list(records) == ["train"] and data.validation_fraction > 0
    if held_out:
        train, validation = hold_out(records["train"], data.validation_fraction)
        records = {"train": train, "validation": validation}
        layout.understood.append(
            f"{data.validation_fraction:.0%} of every class are set aside for validation"
        )
    ignored, understood = dict(+layout.ignored), tuple(layout.understood)
    names = unique_names(names, ids)
    return Source(names, tuple(ids), records, ignored, understood, held_out)


def _with_archives(tree: Tree, work: Path) -> Tree:
    """Reads archives in the tree as folders: those of splits, or any where no folder has photos.

    Where folders of the splits are there, too, the archives are what those were unpacked from.
    """
    for _ in range(_MOST_LAYERS):
        archives = [e for e in tree.entries if stem_of(e.name)]
        if not archives:
            break
        outer = min(len(e.parts) for e in archives)
        archives = [e for e in archives if len(e.parts) == outer]
        splits = [e for e in archives if _means_split(stem_of(e.name))]
        holders = {e.parts[0] for e in tree.entries if len(e.parts) > 1 and may_be_photo(e.name)}
        if (holders and not splits) or any(map(_means_split, holders)):
            break
        tables = [e for e in archives if _may_be_table(stem_of(e.name))]
        tree = open_archives(tree, splits + tables if splits else archives, work)
    return tree


def _may_be_table(name: str) -> bool:
    """Returns whether an archive of this name, without its ending, holds a table alone."""
    return name.lower().endswith((".csv", ".tsv"))


def _means_split(name: str) -> bool:
    said = split_name(name)
    return said is not None and not said.rest


def _read_names(layout: Layout, ids: list[str]) -> list[str]:
    """Returns the names in `class_names.csv` where there is one; otherwise the ids."""
    names = {class_id: class_id for class_id in ids}
    for folder in layout.splits.values():
        names |= {c: name for c, name in folder.class_names.items() if name}
    return [" ".join(names[class_id].split()) for class_id in ids]
