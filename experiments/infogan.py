"""What InfoGAN's codes come to mean: the category against the classes, the continuous codes against image moments.

    python experiments/infogan.py                                      protocol `cpu`, some ten minutes on two cores
    python experiments/infogan.py --protocol mnist --data-dir FOLDER   MNIST, half the paper's nets and steps
    python experiments/infogan.py --protocol paper --data-dir FOLDER   MNIST, for an accelerator

Chen, Duan, Houthooft, Schulman, Sutskever, Abbeel, "InfoGAN", NIPS 2016, arXiv 1606.03657, section 7.2: matched
with the digits, the categorical code errs on 5 per cent of MNIST. The paper states neither seeds nor how it was
matched. Here: argmax of Q(c | x) on the test images, one-to-one matching (Hungarian), final checkpoint, five seeds
as one population, median and best. "k-means" is the same error of ten clusters of the training pixels.

`paper` is the preset of that name: the authors' protocol for MNIST, 5,000 steps of batch 128. `cpu` is the recipe's
default on the 8x8 digits of scikit-learn: another data set, and no published number stands beside it. `mnist` is
`paper` at half the width and 3,000 steps, for two cores; all else is the authors'.

Continuous codes: what the picture does is measured by its moments (evaluation/moments.py): slant, thickness, ink
(mass), width. The rank correlation of a code and a moment is that over samples in which all of the latent varies,
within each category, averaged over categories: 1 or -1 means that the code alone decides that moment, 0 that it has
nothing to do with it. "change" is what the moment of a picture changes by, on average, when the code alone goes from
its lowest ninth to its highest. "stronger of two" is the larger magnitude of the two codes, since which of them
does what differs from seed to seed; the same of two dimensions of the noise is what it is to be compared with.

With --runs FOLDER the run stays there: one that was begun goes on, one at its end is read. --minutes ends a slice.
"""

import argparse
import json
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from contract import RESULTS, Row, arguments, committed, finish, over_seeds
from slices import SliceEnds, add_flags, checked, finished, folder, spent

import jaxgan
from jaxgan.arrays import image_grid, to_uint8
from jaxgan.config import RequestError, changed
from jaxgan.data.images import Images
from jaxgan.evaluation import moments
from jaxgan.evaluation.matching import matched_error
from jaxgan.evaluation.record import read_record
from jaxgan.evaluation.rows import number
from jaxgan.evaluation.seeds import combinations
from jaxgan.recipes.dataset import need_images, open_data
from jaxgan.recipes.folder import Run
from jaxgan.run import Request, find_preset, prepare
from jaxgan.training.parallel import configure_backend

PAPER = "Chen et al. 2016, arXiv 1606.03657"
SOURCE = f"{PAPER}, section 7.2"
PUBLISHED = 0.05
DATA = {"cpu": "digits", "mnist": "mnist", "paper": "mnist"}
PRESET = {"cpu": "cpu", "mnist": "paper", "paper": "paper"}
STEPS = {"cpu": 4000, "mnist": 3000, "paper": 5000}
NARROW = {"generator_width": 32, "discriminator_width": 32, "dense_width": 512}
MOMENTS = {
    "slant": moments.slant,
    "thickness": moments.thickness,
    "ink": moments.mass,
    "width": moments.width,
}
# slant is an angle in radians, thickness and width are in pixels
UNITS = {"slant": "degrees", "thickness": "pixels", "ink": "share", "width": "pixels"}
VALUES = 9
LATENTS = 200


def main() -> None:
    parser = arguments(__doc__ or "", seeds=5)
    parser.add_argument("--protocol", choices=DATA, default="cpu")
    parser.add_argument(
        "--data", help="digits, mnist, or npz:FILE with labels and a test part (default: the protocol's)"
    )
    parser.add_argument("--data-dir", help="where the data set lies, or its official files")
    add_flags(parser)
    flags = checked(parser)
    configure_backend()
    try:
        study(flags)
    except RequestError as error:
        parser.error(str(error))
    except SliceEnds:
        print("the slice ends here; the same command with --runs goes on", flush=True)


def study(flags: argparse.Namespace) -> None:
    began = time.perf_counter()
    with folder(flags.runs) as runs:
        began -= spent(runs)
        name = f"infogan-{flags.protocol}"
        run = jaxgan.load(finished(request(flags, runs, name), runs / name, flags.deadline))
        members = load_members(run)
        images = need_images(open_data(run.options))
        latents = 10 if flags.smoke else LATENTS
        found = [codes_of(one, latents) | last_row(one) for one in members]
        clusters = [clusters_of_pixels(images, seed) for seed in range(len(members))]
        rows = rows_of(flags.protocol, found, clusters)
        for other in DATA:
            if other != flags.protocol:
                rows += committed("infogan", other) or pending(other)
        rows.sort(key=lambda row: [f"({name})" in row.method for name in DATA].index(True))
        protocol = (
            f"cpu: preset cpu on 8x8 digits, {STEPS['cpu']:,} steps of batch 64, 300 test images; mnist: preset paper "
            f"at half its width, {STEPS['mnist']:,} steps; paper: preset paper, {STEPS['paper']:,} steps; both of "
            f"batch 128 on MNIST, 10,000 test images; {len(members)} seeds, final checkpoint; moments of {latents} "
            f"samples a category and seed" + (f"; {images.note}" if images.note else "")
        )
        details = {**earlier_details(), flags.protocol: {"seeds": found, "k-means": clusters}}
        finish("infogan", PAPER, protocol, rows, began, flags, details)
        if not (flags.quick or flags.smoke) and flags.out is None:
            median = int(np.argsort([one["code_error"] for one in found])[(len(found) - 1) // 2])
            picture(
                members[median],
                found[median],
                RESULTS / f"infogan{'' if flags.protocol == 'cpu' else '_' + flags.protocol}.png",
            )


def earlier_details() -> dict[str, Any]:
    """What was committed of the seeds of the other protocols."""
    path = RESULTS / "infogan.json"
    return json.loads(path.read_text()).get("details", {}) if path.exists() else {}


def request(flags: argparse.Namespace, runs: Path, name: str) -> Request:
    steps = 2 if flags.smoke else 300 if flags.quick else STEPS[flags.protocol]
    data = "digits" if flags.smoke else flags.data or DATA[flags.protocol]
    seeds = min(flags.seeds, 2) if flags.quick else flags.seeds
    values: dict[str, Any] = {"data": data, "data_dir": flags.data_dir, "steps": steps, "seeds": seeds}
    values |= {"evaluate_every": steps, "sample_every": 0, "save_every": 500, "outdir": str(runs), "name": name}
    if flags.protocol == "mnist":
        values |= NARROW
    if flags.smoke:
        values |= {"batch": 8, "evaluate_samples": 50, "features": "random-conv", "noise": 4, "code_width": 4}
        values |= {"generator_width": 4, "discriminator_width": 4, "dense_width": 4}
    preset = find_preset("infogan", PRESET[flags.protocol])
    of_options = {field.name for field in fields(preset.options)}
    options = replace(preset.options, **{n: v for n, v in values.items() if n in of_options})
    return prepare("infogan", changed(preset.config, {n: v for n, v in values.items() if n not in of_options}), options)


def load_members(run: Run) -> list[Run]:
    """The seeds of a population, or the one that a single run is."""
    groups = combinations(read_record(run.directory))
    return [jaxgan.load(run.directory, member=m) for m in groups[0].members] if groups else [run]


def last_row(run: Run) -> dict[str, Any]:
    """What the recipe said of the codes at the end of the training."""
    record = read_record(run.directory)
    rows = [row for row in record.evaluations if row.get("member") in (None, run.member) and "code_error" in row]
    wanted = ("code_error", "codes_used", "categorical_information", "continuous_explained", "n_test")
    return {name: number(rows[-1][name]) for name in wanted}


def codes_of(run: Run, latents: int) -> dict[str, Any]:
    """What each continuous code, and two dimensions of the noise, have to do with each moment.

    {"codes" and "noise": [{moment: {"correlation", "change"}} for each dimension]}.
    """
    config = run.config
    category = np.arange(latents * config.categories) % config.categories
    drawn = run.prior(jax.random.key(1), len(category), jnp.asarray(category))
    measured = measure(run, drawn)
    quantiles = (np.arange(VALUES) + 0.5) / VALUES
    codes = 2.0 * quantiles - 1.0
    noise = scipy.stats.norm.ppf(quantiles) if config.prior == "normal" else codes
    first = config.noise + config.categories

    def of(dimension: int, values: np.ndarray) -> dict[str, Any]:
        start, end = (measure(run, moved(drawn[:LATENTS], dimension, v)) for v in (values[0], values[-1]))
        found = {}
        for name in MOMENTS:
            groups = [
                (drawn[category == c, dimension], measured[name][category == c]) for c in range(config.categories)
            ]
            change = float(np.mean(end[name] - start[name]))
            found[name] = {
                "correlation": float(np.mean([rank_correlation(*map(np.asarray, group)) for group in groups])),
                "change": float(np.degrees(change)) if name == "slant" else change,
            }
        return found

    return {
        "codes": [of(first + i, codes) for i in range(config.continuous)],
        "noise": [of(i, noise) for i in range(2)],
    }


def measure(run: Run, latents: jax.Array) -> dict[str, np.ndarray]:
    """The moments of the pictures that the latents [n, ...] make: of each [n]."""

    @jax.jit
    def program(latents: jax.Array) -> dict[str, jax.Array]:
        images = run.generate(run.state, latents, 1.0)
        return {name: moment(images) for name, moment in MOMENTS.items()}

    return {name: np.asarray(values, np.float64) for name, values in program(latents).items()}


def moved(latents: jax.Array, dimension: int, value: float) -> jax.Array:
    """Latents [n, ...] with one dimension at `value`."""
    return latents.at[:, dimension].set(float(value))


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's correlation of a [n] with b [n]; 0 where one of them is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(scipy.stats.spearmanr(a, b).statistic)


def clusters_of_pixels(images: Images, seed: int) -> float:
    """The error of as many clusters of the training pixels as there are classes, matched on the test images."""
    from sklearn.cluster import KMeans

    assert images.test_image is not None and images.test_label is not None
    train, test = (np.asarray(part).reshape(len(part), -1) / 255.0 for part in (images.image, images.test_image))
    found = KMeans(images.num_classes, n_init=4, random_state=seed).fit(train).predict(test)
    return matched_error(found, images.test_label)[0]


def rows_of(protocol: str, found: list[dict[str, Any]], clusters: list[float]) -> list[Row]:
    method, n = f"InfoGAN ({protocol})", len(found)
    errors = [one["code_error"] for one in found]
    rows = [
        Row(method, "error of the code, median", float(np.median(errors)), n_seeds=n, **_published(protocol)),
        Row(method, "error of the code, best", min(errors), n_seeds=n, **_published(protocol)),
        Row(f"k-means ({protocol})", "error of the code, median", float(np.median(clusters)), n_seeds=n),
    ]
    for kind, named in (("codes", method), ("noise", f"two dimensions of the noise ({protocol})")):
        for name in MOMENTS:
            own = [[dimension[name] for dimension in one[kind]] for one in found]
            stronger = [max(dimensions, key=lambda d: abs(d["correlation"])) for dimensions in own]
            rows.append(over_seeds(named, f"{name}: {CORRELATION}", [abs(one["correlation"]) for one in stronger]))
            rows.append(over_seeds(named, f"{name}: change, {UNITS[name]}", [abs(one["change"]) for one in stronger]))
    return rows


CORRELATION = "rank correlation, stronger of two"


def pending(protocol: str) -> list[Row]:
    """The rows of a protocol that nobody has run."""
    method, beside = f"InfoGAN ({protocol})", _published(protocol)
    errors = [Row(method, f"error of the code, {which}", None, n_seeds=5, **beside) for which in ("median", "best")]
    return errors + [Row(method, f"{name}: {CORRELATION}", None, n_seeds=5) for name in MOMENTS]


def _published(protocol: str) -> dict[str, Any]:
    return {"published": PUBLISHED, "source": SOURCE} if protocol == "paper" else {}


def picture(run: Run, found: dict[str, Any], out: Path) -> None:
    """A sheet of traversals: each category in a row, and rows along which one continuous code goes from -2 to 2."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    config = run.config
    # twice as far as the codes went in training, as in the paper's figure 2
    values, categories = np.linspace(-2.0, 2.0, VALUES), config.categories
    first = config.noise + categories
    rows = run.prior(jax.random.key(2), categories, jnp.arange(categories))
    wide = run.prior(jax.random.key(3), categories * VALUES, jnp.repeat(jnp.arange(categories), VALUES))
    sheets = {f"categories, one a row\nerror {100 * found['code_error']:.1f} % on test images": wide}
    for i, code in enumerate(found["codes"]):
        told = ", ".join(f"{name} {code[name]['correlation']:+.2f}" for name in MOMENTS)
        paths = jnp.stack([moved(rows, first + i, value) for value in values], axis=1)
        sheets[f"code {i + 1} from -2 to 2\n{told}"] = paths.reshape(categories * VALUES, -1)
    figure, axes = plt.subplots(1, len(sheets), figsize=(4.6 * len(sheets), 5.4), layout="constrained")
    for axis, (title, latents) in zip(axes, sheets.items(), strict=True):
        grid = image_grid(np.asarray(to_uint8(run.generate(run.state, latents, 1.0))), VALUES)
        axis.imshow(grid[..., 0] if grid.shape[-1] == 1 else grid, cmap="gray", interpolation="nearest")
        axis.set_title(title, fontsize=9)
        axis.axis("off")
    figure.savefig(out, dpi=100, bbox_inches="tight")


if __name__ == "__main__":
    main()
