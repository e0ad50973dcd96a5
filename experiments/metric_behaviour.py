"""What each metric notices: real images with known damage, at rising strength.

    python experiments/metric_behaviour.py --data fashion_mnist         the committed result, some ten minutes
    python experiments/metric_behaviour.py --quick                      8x8 digits

Three disjoint sets of n real images are drawn for each seed: one that a generator would have learned from (the
reference), one held out, and one that is damaged and then passes for generated. The features are those of the
classifier of the data set. Expected: the Frechet distance rises with every damage but cannot tell why; noise, swirl
and blur cost precision; dropped classes cost recall and coverage and leave precision alone; copies of the reference
are what the data-copying test is for: on features it sees copies as they are, in pixels under flips and shifts
mirrored ones as loudly, while the Frechet distance *falls*. (In pixels it sounds for blur and for missing classes
too, which bring pictures nearer to others: authenticity does not fall then.) The Inception Score does not see
that every class has become one picture (Barratt and Sharma, "A Note on the Inception Score", 2018, arXiv 1801.01973).

After Heusel et al. 2017, arXiv 1706.08500, figure 3 (Frechet distance under disturbances), and Xu et al., "An
empirical study on evaluation metrics of generative adversarial networks", 2018, arXiv 1806.07755.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from contract import RESULTS, Row, arguments, finish, over_seeds

from jaxgan.config import Options
from jaxgan.data.images import Images
from jaxgan.evaluation.diversity import WINDOW
from jaxgan.evaluation.features import FeatureNet, features, probabilities
from jaxgan.evaluation.metrics import Material, measure
from jaxgan.recipes.dataset import open_data
from jaxgan.recipes.feature_nets import feature_net
from jaxgan.recipes.protocol import in_memory
from jaxgan.training.parallel import configure_backend

PAPER = "Heusel et al. 2017, arXiv 1706.08500, figure 3; Xu et al. 2018, arXiv 1806.07755"
LEVELS = (0.25, 0.5, 0.75, 1.0)
# what a metric is called in the table, and whether the figure gives it a row
SHOWN = {
    "frechet_distance": "Fréchet distance",
    "kernel_distance": "kernel distance",
    "classifier_score": "classifier score",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "authenticity": "authenticity",
    "copying_z": "copying z, features",
    "copying_z_pixels": "copying z, pixels, flips and shifts",
    "ms_ssim": "MS-SSIM within classes",
}


@dataclass(frozen=True, eq=False)
class Parts:
    """Real images uint8 [n, height, width, channel], disjoint but for `image`, which is the first n of `pool`.

    image, label: what is damaged; training: the reference; held_out: another n; pool, pool_label: all the others.
    """

    image: np.ndarray
    label: np.ndarray
    training: np.ndarray
    held_out: np.ndarray
    pool: np.ndarray
    pool_label: np.ndarray


# the parts, a strength in (0, 1] and a generator -> n images that pass for generated
Damage = Callable[[Parts, float, np.random.Generator], np.ndarray]


def noise(parts: Parts, s: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise of deviation 64 s grey levels."""
    return np.clip(np.round(parts.image + rng.normal(0, 64 * s, parts.image.shape)), 0, 255).astype(np.uint8)


def blur(parts: Parts, s: float, rng: np.random.Generator) -> np.ndarray:
    """A Gaussian blur of deviation s / 12 of the side."""
    from scipy.ndimage import gaussian_filter

    sigma = s * parts.image.shape[1] / 12
    return np.round(gaussian_filter(parts.image.astype(np.float32), (0, sigma, sigma, 0))).astype(np.uint8)


def swirl(parts: Parts, s: float, rng: np.random.Generator) -> np.ndarray:
    """Turned around the centre, by 2 s radians there and less outside."""
    from scipy.ndimage import map_coordinates

    height, width = parts.image.shape[1:3]
    centre = np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
    y, x = np.mgrid[:height, :width] - centre
    angle = 2 * s * np.exp(-(x**2 + y**2) / (height / 3) ** 2)
    at = np.stack([np.cos(angle) * y - np.sin(angle) * x, np.sin(angle) * y + np.cos(angle) * x]) + centre
    planes = np.moveaxis(parts.image.astype(np.float32), -1, 1).reshape(-1, height, width)
    turned = np.stack([map_coordinates(plane, at, order=1) for plane in planes])
    return np.round(np.moveaxis(turned.reshape(len(parts.image), -1, height, width), 1, -1)).astype(np.uint8)


def dropped(parts: Parts, s: float, rng: np.random.Generator) -> np.ndarray:
    """Only the first (1 - s) of the classes, at least one; no image twice."""
    kept = max(1, round((1 - s) * (parts.label.max() + 1)))
    return parts.pool[rng.choice(np.flatnonzero(parts.pool_label < kept), len(parts.image), replace=False)]


def imbalance(parts: Parts, s: float, rng: np.random.Generator) -> np.ndarray:
    """Class k is seen exp(-s k / 2) times as often as class 0; no image twice."""
    weight = np.exp(-0.5 * s * parts.pool_label)
    return parts.pool[rng.choice(len(parts.pool), len(parts.image), replace=False, p=weight / weight.sum())]


def duplicated(parts: Parts, s: float, rng: np.random.Generator) -> np.ndarray:
    """As many images, of which only n 100^-s are distinct."""
    distinct = max(2, round(len(parts.image) * 100.0**-s))
    return parts.image[np.arange(len(parts.image)) % distinct]


def one_a_class(parts: Parts, s: float, rng: np.random.Generator) -> np.ndarray:
    """A share s of the images is, for each class, one and the same picture."""
    first = np.array([np.flatnonzero(parts.label == k)[0] for k in range(parts.label.max() + 1)])
    collapsed = rng.random(len(parts.image)) < s
    return np.where(collapsed[:, None, None, None], parts.image[first[parts.label]], parts.image)


def copied(parts: Parts, s: float, rng: np.random.Generator) -> np.ndarray:
    """A share s of the images is taken from the training set."""
    chosen = rng.random(len(parts.image)) < s
    return np.where(chosen[:, None, None, None], parts.training[rng.permutation(len(parts.training))], parts.image)


def mirrored(parts: Parts, s: float, rng: np.random.Generator) -> np.ndarray:
    """A share s of the images is taken from the training set and mirrored left to right."""
    return copied(replace(parts, training=parts.training[:, :, ::-1]), s, rng)


DAMAGES: Mapping[str, Damage] = {
    "Gaussian noise": noise,
    "blur": blur,
    "swirl": swirl,
    "dropped classes": dropped,
    "duplicates": duplicated,
    "one picture a class": one_a_class,
    "class imbalance": imbalance,
    "training set copied": copied,
    "training set mirrored": mirrored,
}


def main() -> None:
    parser = arguments(__doc__ or "", seeds=3)
    parser.add_argument("--data", default="digits", help="a labelled data set, as jaxgan train --data names them")
    parser.add_argument("--data-dir", default=None, help="where the data set lies, or its official files")
    parser.add_argument("--features", default=None, help="as of jaxgan evaluate (default: the classifier)")
    parser.add_argument("--n", type=int, default=None, help="images in each of the three sets (default 1,000 at most)")
    flags = parser.parse_args()
    began = time.perf_counter()
    configure_backend()
    data = open_data(replace(Options(), data="digits" if flags.smoke else flags.data, data_dir=flags.data_dir))
    if not isinstance(data, Images) or data.label is None:
        parser.error(f"--data {flags.data} has no labelled images")
    # one class of ten alone must give n images that are in neither of the other two sets
    most = len(data.image) // (2 + data.num_classes)
    n = flags.n or (60 if flags.smoke else min(1000, most))
    if not 50 <= n <= most:
        parser.error(f"--n lies in 50..{most} for {data.name}, got {n}")
    net = feature_net("random-conv" if flags.smoke else flags.features or "auto", data)
    levels = LEVELS[-1:] if flags.smoke else LEVELS[1::2] if flags.quick else LEVELS
    seeds = 1 if flags.smoke else min(flags.seeds, 2) if flags.quick else flags.seeds
    found: dict[tuple[str, float], list[dict[str, float]]] = {}
    for seed in range(seeds):
        parts = draw(data, n, seed)
        for name, damage in (("none", None), *DAMAGES.items()):
            for level in levels if damage else (0.0,):
                rng = np.random.default_rng(seed)
                fake = parts.image if damage is None else damage(parts, level, rng)
                found.setdefault((name, level), []).append(judge(net, parts, fake, seed))
        print(f"seed {seed} done", flush=True)
    rows = [
        over_seeds(f"{name}, {level:g}" if level else name, metric, [one[metric] for one in values])
        for (name, level), values in found.items()
        for metric in SHOWN
        if metric in values[0]
    ]
    protocol = (
        f"{data.name}, three disjoint sets of {n} real images a seed; features {net.name}; strengths "
        f"{', '.join(f'{level:g}' for level in levels)} of the damages as defined in the script"
    )
    finish("metric_behaviour", PAPER, protocol, rows, began, flags)
    if not (flags.quick or flags.smoke):
        draw_figure(rows, levels)


def draw(data: Images, n: int, seed: int) -> Parts:
    """Disjoint training and held-out images, and all others in a random order."""
    order = np.random.default_rng(seed).permutation(len(data.image))
    image = in_memory(data.image)
    assert data.label is not None
    rest = order[2 * n :]
    return Parts(
        image=image[rest[:n]],
        label=data.label[rest[:n]],
        training=image[order[:n]],
        held_out=image[order[n : 2 * n]],
        pool=image[rest],
        pool_label=data.label[rest],
    )


def judge(net: FeatureNet, parts: Parts, fake: np.ndarray, seed: int) -> dict[str, float]:
    """Every metric of one damaged set."""
    sets = {"real": parts.training, "fake": fake, "held": parts.held_out}
    seen = {name: features(net, image) for name, image in sets.items()}
    names = ["frechet", "kernel", "prdc", "memorisation", "copies"]
    if min(fake.shape[1:3]) >= WINDOW:
        names.append("ms_ssim")
    classes = None if net.classify is None else probabilities(net, fake)
    return measure(
        Material(
            real=seen["real"],
            fake=seen["fake"],
            training=seen["real"],
            held_out=seen["held"],
            probabilities=classes,
            fake_images=fake,
            training_images=parts.training,
            held_out_images=parts.held_out,
            seed=seed,
        ),
        [*names, *(["inception_score"] if classes is not None else [])],
    )


def draw_figure(rows: list[Row], levels: tuple[float, ...]) -> None:
    """A panel for each metric: one line for each damage over its strength, the undamaged set at 0."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    at = {(row.method, row.metric): row for row in rows}
    metrics = [metric for metric in SHOWN if ("none", metric) in at]
    columns = 4
    figure, axes = plt.subplots(-(-len(metrics) // columns), columns, figsize=(14, 3.1 * -(-len(metrics) // columns)))
    styles = ["-", "--", ":"]
    for axis, metric in zip(axes.flat, metrics, strict=False):
        for i, damage in enumerate(DAMAGES):
            shown = [at["none", metric], *(at[f"{damage}, {level:g}", metric] for level in levels)]
            values = np.array([np.nan if row.measured is None else row.measured for row in shown])
            errors = np.array([row.uncertainty or 0.0 for row in shown])
            axis.errorbar(
                [0, *levels], values, errors, label=damage, color=f"C{i % 10}", ls=styles[i % 3], marker=".", capsize=2
            )
        axis.set_title(SHOWN[metric], fontsize=11)
        axis.set_xticks([0, 0.5, 1])
        axis.spines[["top", "right"]].set_visible(False)
        if metric in ("frechet_distance", "kernel_distance"):
            axis.set_yscale("symlog", linthresh=max(abs(at["none", metric].measured or 0.1), 1.0))
            if metric == "frechet_distance":
                axis.set_ylim(bottom=0)
    for axis in list(axes.flat)[len(metrics) :]:
        axis.axis("off")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower right", ncols=2, fontsize=9, frameon=False)
    figure.supxlabel("strength of the damage", fontsize=11)
    figure.tight_layout()
    figure.savefig(RESULTS / "metric_behaviour.png", dpi=110)


if __name__ == "__main__":
    main()
