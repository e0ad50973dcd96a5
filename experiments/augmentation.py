"""Does a GAN trained on a small labelled set teach a classifier anything that the set itself does not?

    python experiments/augmentation.py                               8x8 digits, five minutes on one core
    python experiments/augmentation.py --data fashion_mnist --data-dir FOLDER --sizes 50 200 1000

For each size n: a class-conditional `dcgan`, preset `cpu`, sees the n labelled images and nothing else, and makes
n more. The classifier (recipe `classifier`, its preset for the data) is trained for the same number of steps on

    real            the n images
    real + samples  them and n samples of the GAN, as many of each class
    real + shifts   them, moved by up to one pixel each way: the plain augmentation
    twice the real  them and n other real images: what the samples would be worth if they were data

and tested on all test images at its last step. Each seed has images, a GAN and a classifier of its own, as many
images of each class; the four rows share the seed's images. "Gain" is the seeds' mean difference to `real` and its
standard error. There is no published number beside ours: studies of this question differ in everything.

What came out on digits: the samples taught nothing that three seeds could tell from zero, where as many real
images more did, most with 50. Samples of the GAN of 50 images look alike within a class.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from contract import RESULTS, Row, arguments, finish, over_seeds

from jaxgan.arrays import to_uint8
from jaxgan.config import RequestError
from jaxgan.data.images import DataError, Images
from jaxgan.recipes import dcgan
from jaxgan.recipes.classification_accuracy import classification_accuracy
from jaxgan.recipes.dataset import need_images, open_data
from jaxgan.recipes.judging import in_batches
from jaxgan.run import find_preset
from jaxgan.training.loop import Plan, fit
from jaxgan.training.parallel import configure_backend

SIZES = (50, 200, 700)
GAN_STEPS = 1500
CLASSIFIER_STEPS = 600
ROWS = ("real", "real + samples", "real + shifts", "twice the real")


def main() -> None:
    parser = arguments(__doc__ or "", seeds=3)
    parser.add_argument("--data", default="digits", help="a labelled data set, as jaxgan train names it")
    parser.add_argument("--data-dir", default=None, help="where the data set lies, or its official files")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="images in the small sets")
    parser.add_argument("--gan-steps", type=int, default=GAN_STEPS)
    parser.add_argument("--classifier-steps", type=int, default=CLASSIFIER_STEPS)
    flags = parser.parse_args()
    if flags.quick:
        flags.gan_steps, flags.classifier_steps, flags.sizes = 200, 100, flags.sizes[:1]
    if flags.smoke:
        flags.gan_steps, flags.classifier_steps, flags.sizes = 2, 2, [20]
    try:
        study(flags)
    except (RequestError, DataError) as error:
        parser.error(str(error))


def study(flags: argparse.Namespace) -> None:
    began = time.perf_counter()
    configure_backend()
    options = replace(find_preset("dcgan", "cpu").options, data=flags.data, data_dir=flags.data_dir)
    images = need_images(open_data(options))
    rows: list[Row] = []
    sheets: dict[int, np.ndarray] = {}
    for n in flags.sizes:
        found: dict[str, list[float]] = {name: [] for name in ROWS}
        for seed in range(flags.seeds):
            small, others = subset(images, n, seed)
            samples, label = generated(small, n, seed, flags)
            sheets.setdefault(n, samples[np.argsort(label, kind="stable")])
            sets: dict[str, tuple[Any, Any]] = {
                "real": (small.image, small.label),
                "real + samples": (np.concatenate([small.image, samples]), np.concatenate([small.label, label])),
                "real + shifts": (small.image, small.label),
                "twice the real": (
                    np.concatenate([small.image, others.image]),
                    np.concatenate([small.label, others.label]),
                ),
            }
            for name, (image, classes) in sets.items():
                shift = name == "real + shifts"
                settings = {"shift": shift} | ({"width": 4, "num_features": 8} if flags.smoke else {})
                accuracy = classification_accuracy(images, image, classes, seed, flags.classifier_steps, **settings)
                found[name].append(100 * accuracy)
            print(f"{n}, seed {seed}: " + ", ".join(f"{name} {found[name][-1]:.1f}" for name in ROWS), flush=True)
        for name in ROWS:
            rows.append(over_seeds(f"{n} images, {name}", "accuracy %", found[name]))
        for name in ROWS[1:]:
            gain = np.subtract(found[name], found["real"])
            rows.append(over_seeds(f"{n} images, {name}", "gain, points", gain))
    assert images.test_image is not None
    protocol = (
        f"{images.name}: dcgan of {flags.gan_steps:,} steps on the small set alone, classifier of "
        f"{flags.classifier_steps:,} steps in every row, {len(images.test_image):,} test images"
        + (f"; {images.note}" if images.note else "")
    )
    finish("augmentation", None, protocol, rows, began, flags)
    if not (flags.quick or flags.smoke) and flags.out is None:
        picture(sheets)


def subset(images: Images, n: int, seed: int) -> tuple[Images, Images]:
    """n images, as many of each class, and n others, as balanced, both as data sets with the same test part."""
    if not images.num_classes or images.label is None or not isinstance(images.image, np.ndarray):
        raise RequestError(f"this study needs a labelled data set in memory, and {images.name} is none")
    each = n // images.num_classes
    if n % images.num_classes or not each:
        raise RequestError(f"--sizes are multiples of the {images.num_classes} classes, got {n}")
    order = np.random.default_rng(seed).permutation(len(images.image))
    ranked = [order[images.label[order] == k] for k in range(images.num_classes)]
    if min(map(len, ranked)) < 2 * each:
        raise RequestError(f"--sizes {n} needs {2 * each} images of each class, of which {images.name} has fewer")
    mine, others = (np.concatenate([one[part] for one in ranked]) for part in (slice(each), slice(each, 2 * each)))
    first, second = (replace(images, image=images.image[i], label=images.label[i]) for i in (mine, others))
    return first, second


def generated(small: Images, n: int, seed: int, flags: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """n samples, as many of each class, of a conditional GAN of the small set: uint8 [n, ...], labels int [n]."""
    preset = find_preset("dcgan", "cpu")
    config = replace(preset.config, generator_width=4, discriminator_width=4) if flags.smoke else preset.config
    options = replace(preset.options, steps=flags.gan_steps, batch=min(preset.options.batch, n), seed=seed)
    recipe = replace(dcgan.make(config, options, small), evaluations={}, best=None, draw=None)
    with tempfile.TemporaryDirectory() as folder:
        outcome = fit(recipe, Path(folder), Plan(quiet=True, log_every=100), seed)
    if outcome.stopped != "end":
        raise KeyboardInterrupt
    assert recipe.prior is not None and recipe.generate is not None
    label = np.arange(n, dtype=np.int32) % small.num_classes

    def prior(key: Any, count: int, condition: Any) -> Any:
        assert recipe.prior is not None
        return recipe.prior(key, count, jnp.asarray(label))

    made, told = in_batches(recipe.generate, prior, outcome.state, jax.random.key(seed), n, batch=n)
    assert told is not None
    return np.asarray(to_uint8(made)), told


def picture(sheets: dict[int, np.ndarray]) -> None:
    """Samples of seed 0, class by class, for each size."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    from jaxgan.arrays import image_grid

    figure, axes = plt.subplots(1, len(sheets), figsize=(4 * len(sheets), 4.4), squeeze=False)
    for axis, (n, samples) in zip(axes.flat, sheets.items(), strict=True):
        grid = image_grid(samples[np.linspace(0, len(samples) - 1, 50).astype(int)], 10)
        axis.imshow(grid[..., 0] if grid.shape[-1] == 1 else grid, cmap="gray", interpolation="nearest")
        axis.set_title(f"samples of a GAN of {n} images")
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(RESULTS / "augmentation.png", dpi=90, bbox_inches="tight")


if __name__ == "__main__":
    main()
