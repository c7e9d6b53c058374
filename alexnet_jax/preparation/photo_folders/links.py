"""Links among the photos: the same photo twice, the same class twice, links to nowhere."""

from collections import Counter, defaultdict

from alexnet_jax.errors import DataError
from alexnet_jax.preparation.file_trees.tree import Parts
from alexnet_jax.preparation.photo_folders.class_folders import listed
from alexnet_jax.preparation.photo_folders.labelling import LabelledPhotos
from alexnet_jax.preparation.photo_folders.split_folders import SourceLayout
from alexnet_jax.preparation.photo_folders.split_names import plain_split


def resolve_links(
    layout: SourceLayout, splits: dict[str, LabelledPhotos]
) -> dict[str, LabelledPhotos]:
    """Returns each class's photo once; refuses two classes that link to the same photos."""
    _check_broken(layout)
    resolved = {}
    for split, photos in splits.items():
        if any(entry.linked for _, entry in photos):
            _refuse_twin_classes(layout, split, photos)
            photos = _once(layout, photos)
        resolved[split] = photos
    training = {entry.place for _, entry in resolved.get("train", ())}
    for split, photos in resolved.items():
        shared = sum(entry.place in training for _, entry in photos) if split != "train" else 0
        if shared:
            layout.understood.append(f"{shared:,} photos of {split} are photos of train, by links")
    return resolved


def _check_broken(layout: SourceLayout) -> None:
    for parts, target in layout.broken_links.items():
        if plain_split(parts[-1]) and "." not in parts[-1]:
            _refuse_broken("split", layout, parts, target)
    for folder in layout.splits.values():
        for parts, target in folder.tree.broken_links.items():
            if len(parts) == 1 and "." not in parts[0] and folder.with_photos:
                _refuse_broken("class", layout, (*folder.inside, *parts), target)
    names = ["/".join(parts) for parts in layout.broken_links]
    why = f"links that lead outside an archive or nowhere: {listed(names, 3)}"
    layout.left_out[why] += len(names)


def _refuse_broken(kind: str, layout: SourceLayout, parts: Parts, target: str) -> None:
    raise DataError(
        f"the {kind} {'/'.join(parts)} of {layout.root} is a link to {target}, which is not there; "
        "repair it or remove it"
    )


def _refuse_twin_classes(layout: SourceLayout, split: str, photos: LabelledPhotos) -> None:
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


def _once(layout: SourceLayout, photos: LabelledPhotos) -> LabelledPhotos:
    """Files go before links to them."""
    counts = Counter((c, entry.place) for c, entry in photos if not entry.linked)
    kept = []
    for class_id, entry in photos:
        if entry.linked:
            counts[class_id, entry.place] += 1
            if counts[class_id, entry.place] > 1:
                layout.left_out["links to photos of the same class"] += 1
                continue
        kept.append((class_id, entry))
    return kept
