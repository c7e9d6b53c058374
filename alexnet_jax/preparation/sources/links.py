"""What links make of a source: the same photo twice, the same class twice, links to nowhere."""

from collections import Counter, defaultdict

from alexnet_jax.errors import DataError
from alexnet_jax.preparation.sources.layouts import listed
from alexnet_jax.preparation.sources.split_names import split_name
from alexnet_jax.preparation.sources.splits import Layout
from alexnet_jax.preparation.sources.tree import Entry, Parts

_Photos = list[tuple[str, Entry]]


def settle_links(layout: Layout, splits: dict[str, _Photos]) -> dict[str, _Photos]:
    """Returns the photos by split, each class's photo once; notes in `layout` what was left out.

    Raises:
      DataError: a link that stands for a class or split leads nowhere, or two classes are links to
        the same photos.
    """
    _settle_broken(layout)
    settled = {}
    for split, photos in splits.items():
        if any(entry.linked for _, entry in photos):
            _refuse_twin_classes(layout, split, photos)
            photos = _each_once(layout, photos)
        settled[split] = photos
    training = {entry.place for _, entry in settled.get("train", ())}
    for split, photos in settled.items():
        shared = sum(entry.place in training for _, entry in photos) if split != "train" else 0
        if shared:
            layout.understood.append(f"{shared:,} photos of {split} are photos of train, by links")
    return settled


def _settle_broken(layout: Layout) -> None:
    for parts, target in layout.broken.items():
        said = split_name(parts[-1])
        if said and not said.rest and "." not in parts[-1]:
            _refuse_broken("split", layout, parts, target)
    for folder in layout.splits.values():
        for parts, target in folder.tree.broken.items():
            if len(parts) == 1 and "." not in parts[0] and folder.holders:
                _refuse_broken("class", layout, (*folder.inside, *parts), target)
    names = ["/".join(parts) for parts in layout.broken]
    layout.ignored[f"links that lead outside an archive or nowhere: {listed(names, 3)}"] += len(
        names
    )


def _refuse_broken(kind: str, layout: Layout, parts: Parts, target: str) -> None:
    raise DataError(
        f"the {kind} {'/'.join(parts)} of {layout.root} is a link to {target}, which is not there; "
        "mend it or remove it"
    )


def _refuse_twin_classes(layout: Layout, split: str, photos: _Photos) -> None:
    places: defaultdict[str, set[tuple[str, int]]] = defaultdict(set)
    for class_id, entry in photos:
        places[class_id].add(entry.place)
    first: dict[frozenset[tuple[str, int]], str] = {}
    for class_id, found in places.items():
        other = first.setdefault(frozenset(found), class_id)
        if other != class_id:
            raise DataError(
                f"the classes '{other}' and '{class_id}' of the {split} split of {layout.root} are "
                "the same photos, by links; remove one of them"
            )


def _each_once(layout: Layout, photos: _Photos) -> _Photos:
    """Returns the photos without links to others of their class; files before links."""
    counts = Counter((c, entry.place) for c, entry in photos if not entry.linked)
    kept = []
    for class_id, entry in photos:
        if entry.linked:
            counts[class_id, entry.place] += 1
            if counts[class_id, entry.place] > 1:
                layout.ignored["links to photos of the same class"] += 1
                continue
        kept.append((class_id, entry))
    return kept
