"""What to know of each preset before a run; a score names the publication or record it is from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """What to know before a run of a preset; `expected_time` names its hardware.

    `source` is a paper section or 2012 file; `expected_score` are errors in percent.
    """

    summary: str
    source: str
    command: str
    expected_time: str
    expected_score: str
    measured_by: str
    needs: str = ""


def _train(preset: str, more: str = "") -> str:
    return f"python -m alexnet_jax.main train --preset {preset} --workdir runs/{preset}{more}"


_ILSVRC_2012 = (
    "ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz (free "
    "registration at image-net.org); prepare them with `python -m alexnet_jax.main prepare "
    "--source imagenet2012 FOLDER --name imagenet2012`"
)
_NOT_RUN = "not run: weeks on two CPU cores, hours to days on one GPU; see experiments/imagenet"
_CIFAR_NEEDS = (
    "cifar-10-python.tar.gz, the binary version, or train/test archives of class folders; name "
    "them with --data.source"
)
_FOLDER_NEEDS = (
    "a folder or tar of train/CLASS/* and test/CLASS/*, named with --data.source at the first run"
)

NOTES: dict[str, Note] = {
    "digits": Note(
        "a two-tower, eight-layer AlexNet in small on 1,797 handwritten digits",
        "this project; order of layers from paper §3.5",
        "python -m alexnet_jax.main --workdir runs/",
        "1 min, 2 CPU cores (busy)",
        "1.1 % top-1 (centre), 1.4 % (five crops); ten seeds: 1.2 and 1.0 %",
        "this repository, experiments/digits and experiments/seeds",
    ),
    "cifar10-13pct": Note(
        "the four-layer CIFAR-10 net without normalization",
        "paper §3.3; 2012 file layers-conv-local-13pct.cfg",
        _train("cifar10-13pct", " --data.source CIFAR"),
        "about 9 h on one CPU core (104 of its 520 epochs took 110 min)",
        "13 % top-1; 18.8 % (centre), 15.8 % (ten views) here after 104 epochs of a lossy copy",
        "cuda-convnet (lossless CIFAR-10); this repository, experiments/cifar10",
        _CIFAR_NEEDS,
    ),
    "cifar10-11pct": Note(
        "the four-layer CIFAR-10 net with response normalization",
        "paper §3.3; cuda-convnet layers-conv-local-11pct.cfg",
        _train("cifar10-11pct", " --data.source CIFAR"),
        "about 11 h on one CPU core (104 of its 520 epochs took 134 min)",
        "11 % top-1; 18.3 % (centre), 16.1 % (ten views) here after 104 epochs of a lossy copy",
        "cuda-convnet (lossless CIFAR-10); this repository, experiments/cifar10",
        _CIFAR_NEEDS,
    ),
    "cifar10-18pct": Note(
        "the small CIFAR-10 net with spatial response normalization",
        "2012 file layers-18pct.cfg",
        _train("cifar10-18pct", " --data.source CIFAR"),
        "143 min, one core",
        "18 % top-1; 20.0 % here, of a lossy copy",
        "cuda-convnet (lossless CIFAR-10); this repository, experiments/cifar10",
        _CIFAR_NEEDS,
    ),
    "cifar10-alexnet": Note(
        "the paper's eight layers and two towers, fitted to CIFAR-10",
        "this project; layers and recipe of paper §3 to §5",
        _train("cifar10-alexnet", " --data.source CIFAR"),
        "80 min, one core (22 of them a pause)",
        "18.1 % top-1 (centre), 16.2 % (ten views), of a lossy copy; with one tower (--network "
        "cifar-alexnet-one-tower) 17.2 and 15.6 %",
        "this repository, experiments/cifar10",
        _CIFAR_NEEDS,
    ),
    "imagenette": Note(
        "ten classes of ImageNet, on a network that suits some thousand photos, or on the layers "
        "of --transfer.run",
        "this project; data: fastai/imagenette",
        _train("imagenette", " --data.source IMAGENETTE"),
        "19 min, one core (busy), 4,500 photos",
        "29.7 % top-1 (centre), 28.4 % (ten views); three seeds: 30.1 and 28.6 %",
        "this repository, experiments/imagenette",
        _FOLDER_NEEDS,
    ),
    "imagenette-original": Note(
        "the full two-tower network of run 145 on ten classes of ImageNet; it learns, but slowly",
        "2012 file layers-145.cfg; data: fastai/imagenette",
        _train("imagenette-original", " --data.source IMAGENETTE"),
        "32 min, one core, 4,500 photos",
        "44.4 % top-1 (centre), 43.0 % (ten views)",
        "this repository, experiments/imagenette",
        _FOLDER_NEEDS,
    ),
    "cats-vs-dogs": Note(
        "cats and dogs, on a network that suits their number (AlexNet at 224 pixels would stay at "
        "the loss of guessing for minutes), or on the layers of --transfer.run",
        "this project; the chosen networks' own",
        _train("cats-vs-dogs", " --data.source CATS_VS_DOGS"),
        "32 min, one core; 7 min on the convolutions of torchvision's network (5,200 photos)",
        "14.6 % top-1 (centre), 13.2 % (ten views); 4.4 and 3.9 % on those convolutions",
        "this repository, experiments/cats_vs_dogs",
        _FOLDER_NEEDS + "; or a set that was prepared from tfds:cats_vs_dogs, with --data.name",
    ),
    "cats-vs-dogs-224": Note(
        "cats against dogs as courses teach it: 224 pixels, resized crops, rotations now and then, "
        "ImageNet's mean and deviation",
        "courses on PyTorch; data: Kaggle's Dogs vs. Cats",
        _train("cats-vs-dogs-224", " --data.source train.zip"),
        "21 min, 2 CPU cores, for 10 of its 30 epochs on 4,680 photos",
        "33.8 % top-1 (centre) after those 10 epochs: it has begun to learn",
        "this repository, experiments/cats_vs_dogs",
        "Kaggle's train.zip (train/cat.0.jpg …) or its folder, of which a tenth is set aside; "
        "`predict test1.zip --format submission` makes what is handed in",
    ),
    "folder": Note(
        "your own photos, one folder per class; network and recipe are chosen to suit them, or on "
        "the layers of --transfer.run",
        "this project; the chosen networks' own",
        _train("folder", " --data.source PHOTOS"),
        "minutes for some hundred photos, 2 CPU cores; 28 min for 4,500, one core",
        "depends on the photos: 29.1 % top-1 (centre), 28.1 % (ten views) on 4,500 of ten classes; "
        "2 x 300 cats and dogs: see experiments/own_photos",
        "this repository, experiments/imagenette and experiments/own_photos",
        "a folder or tar with one folder per class, or train/CLASS/* and test/CLASS/*, named with "
        "--data.source at the first run",
    ),
    "imagenet": Note(
        "the network as the paper prints it, rates divided on a validation plateau",
        "paper §3 to §5",
        _train("imagenet"),
        _NOT_RUN,
        "40.7 / 18.2 % (ILSVRC-2012 validation, ten views)",
        "paper, table 2",
        _ILSVRC_2012,
    ),
    "imagenet-one-tower": Note(
        "the network that most courses draw, one GPU and no groups, by the recipe of `imagenet`",
        "what courses draw; recipe of paper §4 and §5",
        _train("imagenet-one-tower"),
        _NOT_RUN,
        "none published for this recipe; the same filters trained by another one: 38.50 / 16.64 % "
        "(ILSVRC-2012 validation, centre view)",
        "osmr/imgclsmob, its table of PyTorch models",
        _ILSVRC_2012,
    ),
    "imagenet-original": Note(
        "run 145: the network and schedule behind the paper's table 2",
        "2012 files layers-145.cfg and layer-params-145.cfg",
        _train("imagenet-original"),
        _NOT_RUN,
        "40.664 / 18.210 % (ILSVRC-2012 validation, ten views)",
        "2012 log",
        _ILSVRC_2012,
    ),
    "imagenet-2010": Note(
        "run 145-2010: the network and schedule behind the paper's table 1",
        "2012 file layer-params-145-2010.cfg",
        _train("imagenet-2010", " --data.source ILSVRC2010"),
        _NOT_RUN,
        "37.473 / 16.999 % (LSVRC-2010 test, ten views: `evaluate --split test`)",
        "2012 log",
        "LSVRC-2010 as train/WNID/*, validation/WNID/*, test/WNID/*, named with --data.source",
    ),
    "imagenet-caffenet": Note(
        "Caffe's reference network: pooling before normalization, 227 pixels",
        "BVLC Caffe, models/bvlc_reference_caffenet",
        _train("imagenet-caffenet"),
        _NOT_RUN,
        "42.6 / 19.6 % (ILSVRC-2012 validation, centre view)",
        "BVLC model card",
        _ILSVRC_2012,
    ),
    "imagenet-one-weird-trick": Note(
        "torchvision's one-tower network and recipe",
        "one-weird-trick paper; torchvision references",
        _train("imagenet-one-weird-trick"),
        _NOT_RUN,
        "43.478 / 20.934 % (ILSVRC-2012 validation, centre view)",
        "torchvision documentation",
        _ILSVRC_2012,
    ),
    "fall-2009": Note(
        "run 146-2009: six convolutional layers on 10,184 classes; half of the images are trained, "
        "half tested",
        "paper §6; 2012 file layer-params-146-2009.cfg",
        _train("fall-2009", " --data.source FALL2009 --transfer.run runs/imagenet-original"),
        _NOT_RUN,
        "67.4 / 40.9 % (half of Fall 2009)",
        "paper §6; no 2012 log has this number, and this run's has none",
        "ImageNet Fall 2009 as one folder per class, of which `train` and `prepare "
        "--validation-fraction 0.5` set the same half aside (by a hash of the files' names: no "
        "seed); and a finished imagenet-original run",
    ),
    "fall-2011-pretrain": Note(
        "run 146-2011: pre-training on all of Fall 2011 with a linear bottleneck",
        "paper §6; 2012 file layer-params-146-2011.cfg",
        _train("fall-2011-pretrain", " --data.source FALL2011 --transfer.run runs/fall-2009"),
        _NOT_RUN,
        "none published",
        "nobody",
        "ImageNet Fall 2011 as one folder per class, and a finished fall-2009 run",
    ),
    "imagenet-finetune": Note(
        "run 146-2012-2011: the pre-trained six-layer network fine-tuned on ILSVRC-2012",
        "paper §6; 2012 file layer-params-146-2012-2011.cfg",
        _train("imagenet-finetune", " --transfer.run runs/fall-2011-pretrain"),
        _NOT_RUN,
        "38.990 / 16.622 % (ILSVRC-2012 validation, ten views)",
        "2012 log; 39.0 / 16.6 in paper table 2",
        _ILSVRC_2012 + "; and a finished fall-2011-pretrain run",
    ),
}
