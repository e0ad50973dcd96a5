"""What translation systems do, each beside itself without its game: pix2pix, SRGAN, CycleGAN, CUT, StarGAN.

    python experiments/translation.py                                  8x8 digits, half an hour on two cores
    python experiments/translation.py --protocol clothes --data-dir FOLDER    sneakers and bags of Fashion-MNIST
    python experiments/translation.py --protocol numerals     MNIST and the 8x8 digits, at 16x16: two sets, no pairs
    python experiments/translation.py --protocol photographs  horses and deer of CIFAR-10, a temple and a flower
    python experiments/translation.py --systems pix2pix                some of them; other rows stay as they are

Every row is a recipe with its preset `cpu` and the changes that stand in `SYSTEMS`, the seeds as one population,
measured at its last step on test pictures that were not trained on. Nothing was selected on them.

pix2pix, Isola et al. 2017, arXiv 1611.07004, section 4.1: alone, the mean absolute difference (L1) blurs; alone, the
game invents; together they are sharp and right. "sharpness" is the power of the fine half of the frequencies, that of
the right answers being 1; "accuracy" how often the data set's classifier sees what the picture is of.
SRGAN, Ledig et al. 2017, arXiv 1609.04802: likewise against pixels alone, which win by PSNR and look blurred.
CycleGAN, Zhu et al. 2017, arXiv 1703.10593, and CUT, Park et al. 2020, arXiv 2007.15651: two domains that are
never shown as pairs, and test pictures of which the pairs are known: "accuracy" is that of a classifier of the
target domain, which never saw the other one, "before" on the pictures as they are. "_ab" is the way from a to b.
Of MNIST and the 8x8 digits of another source there are no pairs at all, but classes that both have. Horses, deer
and photographs have no right answers: their rows are a Frechet distance, and the sheets.
StarGAN, Choi et al. 2018, arXiv 1711.09020: "accuracy" is the share taken for the class that was asked for;
"content" how much of the slant and thickness is left, by rank correlation. Of attributes, here two that are measured,
it is the share that has what was asked for; "others_kept" that in which the other one did not change, "class_kept" that
which is still the same digit. "with identity" adds what the paper has not: what is of a domain is to stay as it is.

The papers measure other data by other means (per-pixel accuracy of a segmentation net, people's votes): no number of
theirs stands here, only the orderings that they claim.
"""

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from contract import RESULTS, Row, arguments, committed, finish, over_seeds
from slices import SliceEnds, add_flags, checked, finished, folder

import jaxgan
from jaxgan.config import RequestError, changed, settings
from jaxgan.evaluation.record import read_record
from jaxgan.evaluation.rows import measured, number
from jaxgan.evaluation.seeds import combinations
from jaxgan.recipes.folder import Run
from jaxgan.run import Request, find_preset, prepare
from jaxgan.training.parallel import configure_backend


@dataclass(frozen=True)
class System:
    """Rows of one system: their names, each with the settings in which it differs from the recipe's preset."""

    recipe: str
    rows: Mapping[str, Mapping[str, Any]]


SYSTEMS = {
    "pix2pix": System(
        "pix2pix",
        {"L1 + GAN": {}, "L1 alone": {"adversarial_weight": 0.0}, "GAN alone": {"l1_weight": 0.0}},
    ),
    "srgan": System(
        "srgan",
        {"SRGAN": {}, "pixels alone": {"adversarial_weight": 0.0, "content_weight": 0.0}},
    ),
    "cyclegan": System("cyclegan", {"CycleGAN": {}, "no cycle": {"cycle_weight": 0.0, "identity_weight": 0.0}}),
    "cut": System("cut", {"CUT": {}, "no contrast": {"contrast_weight": 0.0, "identity_weight": 0.0}}),
    "stargan": System(
        "stargan",
        {
            "StarGAN": {"identity_weight": 0.0},
            "no cycle": {"cycle_weight": 0.0, "identity_weight": 0.0},
            "with identity": {},
        },
    ),
    "stargan_attributes": System("stargan", {"StarGAN": {"identity_weight": 0.0}, "with identity": {}}),
    "style_transfer": System(
        "style_transfer",
        {
            "CUT on crops": {},
            "no contrast": {"contrast_weight": 0.0},
            "no low-pass filters": {"antialias": False},
        },
    ),
}


@dataclass(frozen=True)
class Protocol:
    """Data, steps and further settings of each system."""

    data: Mapping[str, str]
    steps: Mapping[str, int]
    values: Mapping[str, Mapping[str, Any]]


PROTOCOLS = {
    "digits": Protocol(
        dict.fromkeys(("pix2pix", "srgan", "cyclegan", "cut", "stargan", "stargan_attributes"), "digits"),
        {
            **dict.fromkeys(("pix2pix", "srgan", "cyclegan", "cut"), 1500),
            **dict.fromkeys(("stargan", "stargan_attributes"), 2000),
        },
        {
            "cyclegan": {"task": "sobel"},
            "cut": {"task": "sobel"},
            "stargan_attributes": {"attributes": ("thick", "slanted-right")},
        },
    ),
    "clothes": Protocol(
        {
            "pix2pix": "fashion_mnist:Sneaker",
            "srgan": "fashion_mnist",
            "cyclegan": "fashion_mnist:Sneaker",
            "cut": "fashion_mnist:Sneaker",
            "stargan": "fashion_mnist",
        },
        {"pix2pix": 800, "srgan": 800, "cyclegan": 800, "cut": 800, "stargan": 1500},
        {},
    ),
    "numerals": Protocol(
        dict.fromkeys(("cyclegan", "cut"), "mnist+digits"),
        dict.fromkeys(("cyclegan", "cut"), 1500),
        {name: {"size": 16} for name in ("cyclegan", "cut")},
    ),
    "photographs": Protocol(
        {**dict.fromkeys(("cyclegan", "cut"), "cifar10:horse+cifar10:deer"), "style_transfer": "china+flower"},
        {"cyclegan": 800, "cut": 800, "style_transfer": 600},
        # as their papers have it: CycleGAN without filters
        {"cut": {"antialias": True}},
    ),
}
# the numbers of an evaluation that are rows
METRICS = (
    "l1",
    "psnr",
    "ssim",
    "sharpness",
    "frechet_distance",
    "frechet_distance_before",
    "accuracy",
    "accuracy_before",
    "accuracy_of_targets",
    "accuracy_worst",
    "others_kept",
    "class_kept",
    "accuracy_ab",
    "accuracy_before_ab",
    "cycle_l1",
    "content_slant",
    "content_thickness",
)
SECONDS = "seconds, all seeds"
SMALL = {"generator_width": 4, "discriminator_width": 4, "contrast_width": 4, "batch": 4, "features": "random-conv"}


def main() -> None:
    parser = arguments(__doc__ or "", seeds=3)
    parser.add_argument("--protocol", choices=PROTOCOLS, default="digits")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, help="default: those of the protocol")
    parser.add_argument("--data", help="the same pictures by another name, as jaxgan train takes it")
    parser.add_argument("--data-dir", help="where the data set lies, or its official files")
    add_flags(parser)
    flags = checked(parser)
    there = list(PROTOCOLS[flags.protocol].data)
    flags.systems = flags.systems or there
    if strange := [name for name in flags.systems if name not in there]:
        parser.error(f"--protocol {flags.protocol} has {', '.join(there)}, not {', '.join(strange)}")
    sets = dict.fromkeys(PROTOCOLS[flags.protocol].data[name] for name in flags.systems)
    if flags.data and len(sets) > 1:
        parser.error(f"--data stands for one set, and these systems have {' and '.join(sets)}: choose --systems")
    configure_backend()
    try:
        study(flags)
    except RequestError as error:
        parser.error(str(error))


def study(flags: argparse.Namespace) -> None:
    began = time.perf_counter()
    rows: list[Row] = []
    with folder(flags.runs) as runs:
        try:
            for name in flags.systems:
                for row, values in list(SYSTEMS[name].rows.items())[: 1 if flags.smoke else None]:
                    place = f"{flags.protocol}-{name}-{row.replace(' ', '-').replace('+', 'and')}"
                    asked = request(flags, name, values, runs, place)
                    directory = finished(asked, runs / place, flags.deadline)
                    rows += rows_of(directory, f"{name}: {row} ({flags.protocol})")
                    own = {r.metric: f"{r.measured:.4g}" for r in rows if r.method == rows[-1].method}
                    print(f"{rows[-1].method}: {own}", flush=True)
                    if not (flags.smoke or flags.quick) and flags.out is None:
                        picture(jaxgan.load(directory, member=0), place)
        except SliceEnds:
            print("the slice ends here; the same command with --runs goes on", flush=True)
    if flags.out is None:
        rows = merged(rows)
        # of those that ran before, too
        began = time.perf_counter() - sum(row.measured or 0.0 for row in rows if row.metric == SECONDS)
    finish("translation", None, described(flags.seeds), rows, began, flags)


def request(flags: argparse.Namespace, name: str, changes: Mapping[str, Any], runs: Path, place: str) -> Request:
    protocol, preset = PROTOCOLS[flags.protocol], find_preset(SYSTEMS[name].recipe, "cpu")
    steps = 2 if flags.smoke else 100 if flags.quick else protocol.steps[name]
    values: dict[str, Any] = {**protocol.values.get(name, {}), **changes}
    data = "digits" if flags.smoke else flags.data or protocol.data[name]
    values |= {"data": data, "data_dir": flags.data_dir, "steps": steps}
    seeds = 1 if flags.smoke else 2 if flags.quick else flags.seeds
    values |= {"seeds": seeds, "outdir": str(runs), "name": place, "save_every": 500}
    values |= {
        "evaluate_every": 0,
        "sample_every": 0,
        "log_every": 100,
        "evaluate_samples": 50 if flags.smoke else 1000,
    }
    of_options = {field.name for field in fields(preset.options)}
    if flags.smoke:
        known = of_options | set(settings(preset.config))
        values |= {field: value for field, value in SMALL.items() if field in known}
    options = replace(preset.options, **{n: v for n, v in values.items() if n in of_options})
    config = changed(preset.config, {n: v for n, v in values.items() if n not in of_options})
    return prepare(SYSTEMS[name].recipe, config, options)


def rows_of(directory: Path, method: str) -> list[Row]:
    """The last evaluation of each seed; last the seconds of all of them."""
    record = read_record(directory)
    groups = combinations(record)
    members = groups[0].whole if groups else [record]
    last = [[row for row in member.evaluations if row["evaluation"] == "translation"][-1] for member in members]
    there = measured(last[0])
    rows = [over_seeds(method, m, [number(row[m]) for row in last]) for m in METRICS if m in there]
    seconds = max((row["seconds"] for row in (*record.log, *record.evaluations)), default=0.0)
    return [*rows, Row(method, SECONDS, float(seconds))]


def merged(rows: list[Row]) -> list[Row]:
    """These rows, those of other systems as they are committed, and the rest as pending, in the order of the table."""
    new, found = {row.method for row in rows}, []
    for protocol in PROTOCOLS:
        before = committed("translation", protocol)
        for name in PROTOCOLS[protocol].data:
            for row in SYSTEMS[name].rows:
                method = f"{name}: {row} ({protocol})"
                own = [r for r in (rows if method in new else before) if r.method == method]
                found += own or [Row(method, "frechet_distance", None, n_seeds=3)]
    return found


def described(seeds: int) -> str:
    def counted(steps: Mapping[str, int]) -> str:
        groups = {n: [name for name in steps if steps[name] == n] for n in dict.fromkeys(steps.values())}
        return ", ".join(f"{' '.join(names)} {n:,}" for n, names in groups.items())

    steps = "; ".join(f"{name}: {counted(protocol.steps)}" for name, protocol in PROTOCOLS.items())
    note = "MNIST: training images approximate, pixels of value 1 are 0; CIFAR-10: 1,000 of the 10,000 test images"
    return f"presets cpu, {seeds} seeds, last step, test pictures; steps of {steps}; {note}"


def picture(run: Run, place: str) -> None:
    """The run's last sheet, of seed 0, beside the result."""
    sheets = sorted((run.directory / "samples").glob("*-member00.png")) or sorted((run.directory / "samples").glob("*"))
    out = RESULTS / "translation" / f"{place}.png"
    out.parent.mkdir(exist_ok=True)
    out.write_bytes(sheets[-1].read_bytes())


if __name__ == "__main__":
    main()
