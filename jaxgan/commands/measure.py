"""``jaxgan evaluate``, ``spectrum`` and ``report``: numbers about runs and pictures."""

import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from jaxgan.commands.flags import DONE, of_member, positional, writing
from jaxgan.config import RequestError, check_seed, finite, parse


def evaluate(arguments: list[str]) -> int:
    @dataclass(frozen=True)
    class Evaluate:
        """Measures a run, or any folder or archive of images, and says how."""

        what: Annotated[Path, positional()]
        """Folder of a run, folder of images, or archive (.npz)."""
        reference: str | None = None
        """What images are compared with: a data set, a run, a folder or an archive; of a run by default its data."""
        metrics: tuple[str, ...] = ()
        """What is measured, see above."""
        split: Literal["train", "test"] = "train"
        """Part of the reference that is compared with."""
        n: int | None = None
        """Generated images; by default as in training, or all that the folder holds."""
        seed: int = 0
        """Of the samples and of subsets of them."""
        features: str | None = None
        """auto, classifier, inception, random-conv, pixels, the folder of a classifier run, a file of Inception weights
        (.pth), or dinov2:FILE; by default as in training."""
        resizer: Literal["tf1", "clean"] = "tf1"
        """How Inception's input is resized: as the published FID does, or with antialiasing."""
        resamplings: int = 1
        """Sets of samples of each checkpoint: mean and deviation over them, which is not that over training seeds."""
        member: int | None = None
        """Of a population; by default all, and their mean with its standard error."""
        checkpoint: str = "both"
        """both (final and best), final, best, or a step."""
        data_dir: Path | None = None
        """Where the reference's prepared data set lies, or its official files."""
        json: bool = False
        """Print JSON."""

    from jaxgan.evaluation.metrics import DEFAULT, METRICS

    lines = [f"  {name:24} {metric.says}" for name, metric in METRICS.items()]
    default = f"By default {', '.join(DEFAULT)}."
    description = "\n".join([Evaluate.__doc__ or "", "", "metrics:", *lines, "", default])
    asked = parse(Evaluate, arguments, "jaxgan evaluate", description=description)
    if asked.resamplings < 1:
        raise RequestError(f"--resamplings is at least 1, got {asked.resamplings}")
    from jaxgan import evaluate as evaluations
    from jaxgan.recipes.protocol import Protocol
    from jaxgan.run import configure_backend

    metrics = tuple(name for part in asked.metrics for name in part.split(",") if name)
    protocols = [Protocol(metrics, asked.split, asked.n, asked.seed + i) for i in range(asked.resamplings)]
    data_dir = None if asked.data_dir is None else str(asked.data_dir)
    configure_backend()
    if (asked.what / "config.json").exists() or not asked.what.exists():
        results = [
            evaluations.evaluate(
                asked.what,
                asked.features,
                asked.checkpoint,
                asked.member,
                one,
                asked.reference,
                asked.resizer,
                data_dir,
            )
            for one in protocols
        ]
    elif asked.reference is None:
        raise RequestError(f"{asked.what} is no run: say with --reference what its images are compared with")
    elif asked.resamplings > 1 or asked.member is not None or asked.checkpoint != "both":
        raise RequestError(f"--resamplings, --member and --checkpoint are for runs, and {asked.what} holds images")
    else:
        results = [
            evaluations.evaluate_images(
                asked.what, asked.reference, protocols[0], asked.features or "auto", asked.resizer, data_dir
            )
        ]
    if asked.json:
        print(json.dumps(finite(results[0] if len(results) == 1 else {"resamplings": results})))
    else:
        print("\n".join(evaluation_lines(results)))
    return DONE


def evaluation_lines(results: list[dict[str, Any]]) -> list[str]:
    """What evaluations say in words: a column for each checkpoint, or a table of a population's members."""
    from jaxgan.evaluation.rows import label_of, measured, protocol
    from jaxgan.evaluation.seeds import combined_evaluations

    first = results[0]
    if "members" in first:
        if len(results) > 1:
            raise RequestError("--resamplings is for one run: of a population say which --member")
        lines = [f"{name}: {value}" for name, value in first.items() if name not in ("members", "best")]
        for name, one in [("final", first), *([("best", first["best"])] if "best" in first else [])]:
            lines += [f"{name}, step {one['step']}:"] if "best" in first else []
            lines += member_table(combined_evaluations(one["members"]))
        kinds = [value for value in first["members"][0].values() if isinstance(value, dict) and "n_fake" in value]
        return [*lines, *(f"{name}: {value}" for kind in kinds for name, value in protocol(kind).items())]
    columns = [("", [{"images": one} for one in results])] if "run" not in first else []
    if not columns:
        columns = [(str(first["checkpoint"]), results)]
        if "best" in first:
            columns.append(("best", [one["best"] for one in results]))
    lines = [f"{name}: {value}" for name, value in first.items() if not isinstance(value, dict) and columns[0][0]]
    for kind in [name for name, value in columns[0][1][0].items() if isinstance(value, dict) and name != "best"]:
        rows = [[one[kind] for one in ones] for _, ones in columns]
        lines.append(f"{first.get('images', kind) if 'run' not in first else kind}:")
        if len(columns) > 1:
            titles = [f"{name}, step {ones[0]['step']}" for name, ones in columns]
            lines.append(" " * 36 + "".join(f"{title:>26}" for title in titles))
        values = measured(rows[0][0])
        for metric in [name for name in values if not name.endswith("_error") or name[:-6] not in values]:
            cells = "".join(f"{_measured_cell(ones, metric):>26}" for ones in rows)
            lines.append(f"  {label_of(metric, rows[0][0]):34}{cells}")
        if len(rows[0]) > 1:
            lines.append(
                f"  (± is the deviation over {len(rows[0])} sets of samples of one checkpoint, not over seeds)"
            )
        elif any(name.endswith("_error") for name in values):
            lines.append("  (± is over subsets of these samples, not over training seeds)")
        lines += [f"  {name:34}{value!s:>26}" for name, value in protocol(rows[0][0]).items()]
    return lines


def _measured_cell(rows: list[dict[str, Any]], metric: str) -> str:
    """A metric of one checkpoint, or its mean and deviation over several sets of samples."""
    from jaxgan.evaluation.rows import number
    from jaxgan.evaluation.seeds import mean_and_error

    if len(rows) > 1:
        over = mean_and_error([number(one.get(metric)) for one in rows])
        return f"{over['mean']:.6g} ± {(over['error'] or 0.0) * len(rows) ** 0.5:.2g}"
    error = rows[0].get(f"{metric}_error")
    return f"{number(rows[0].get(metric)):.6g}" + ("" if error is None else f" ± {error:.2g}")


def member_table(combinations: list[dict[str, Any]]) -> list[str]:
    """One line for each combination of values: mean and standard error over its seeds, of the last and of the best."""

    def shown(value: dict[str, Any] | None) -> str:
        if value is None or value["mean"] is None:
            return "-"
        return f"{value['mean']:.4g}" + ("" if value["error"] is None else f" ± {value['error']:.2g}")

    lines = []
    for metric in dict.fromkeys(name for one in combinations for name in one["metrics"]):
        rows = [(metric, "seeds", "final", "best")]
        for one in combinations:
            values = one["metrics"].get(metric, {})
            seeds = f"{len(one['members']) - len(one['broken'])}" + (
                f" of {len(one['members'])}" if one["broken"] else ""
            )
            rows.append((one["label"], seeds, shown(values.get("final")), shown(values.get("best"))))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        ]
    return lines


def spectrum(arguments: list[str]) -> int:
    @dataclass(frozen=True)
    class Spectrum:
        """Leading eigenvalues of the game's Jacobian, and what they say: converging, rotating or diverging.

        The flow is that of simultaneous gradient descent of each player on its own loss, with steps of vanishing
        size: Adam's rescaling is not in it. Away from a stationary point it says how the flow changes nearby.
        Writes a picture of the complex plane (PNG) and the numbers (JSON).
        """

        run: Annotated[Path, positional()]
        """Folder of the run."""
        checkpoint: str = "all"
        """all that are kept, final, best, or a step."""
        count: int = 4
        """Eigenvalues of largest real part, of largest imaginary part and of largest modulus: so many each."""
        batches: int = 4
        """Batches that the Jacobian is averaged over, and as many fresh ones that its eigenvectors are measured on."""
        seed: int = 0
        """Of the vector that the search starts from."""
        member: int | None = None
        """Of a population; by default the first."""
        out: Path | None = None
        """Where FILE.png and FILE.json go; by default into the run's folder."""
        json: bool = False
        """Print JSON."""

    asked = parse(Spectrum, arguments, "jaxgan spectrum", description=inspect.cleandoc(Spectrum.__doc__ or ""))
    if asked.count < 1 or asked.batches < 2:
        raise RequestError(f"--count is at least 1 and --batches at least 2, got {asked.count} and {asked.batches}")
    check_seed(asked.seed)
    out = asked.out or asked.run / f"spectrum{of_member(asked.member)}.png"
    if out.suffix != ".png":
        raise RequestError(f"--out {out} ends in .png")
    if asked.out is not None:
        with writing(out):  # found out now, not after a minute of work
            pass
    from jaxgan.evaluation.spectrum import as_json, draw, table
    from jaxgan.run import configure_backend
    from jaxgan.spectra import spectra

    configure_backend()
    found, missing = [], []
    for one, lacking in spectra(asked.run, asked.checkpoint, asked.count, asked.batches, asked.seed, asked.member):
        found.append(one)
        missing.append(lacking)
        if not asked.json:
            print("\n".join(table(one, lacking)), flush=True)
    member = {} if asked.member is None else {"member": asked.member}
    flags = {"count": asked.count, "batches": asked.batches, "seed": asked.seed}
    result = finite({"run": str(asked.run), **member, **flags, "checkpoints": list(map(as_json, found, missing))})
    with writing(out):
        draw(out, found, f"Eigenvalues of the game's Jacobian, {asked.run.name}")
        out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result) if asked.json else out)
    return DONE


def report(arguments: list[str]) -> int:
    @dataclass(frozen=True)
    class Report:
        """Writes the page of one run (report.html in its folder), or one page that compares several."""

        runs: Annotated[tuple[Path, ...], positional()]
        """Folders of runs."""
        out: Path = Path("comparison.html")
        """Where the comparison of several runs goes."""
        json: bool = False
        """Print the runs' summaries as JSON instead."""

    asked = parse(Report, arguments, "jaxgan report")
    if not asked.runs:
        raise RequestError("report on what? usage: jaxgan report RUN [RUN ...]")
    from jaxgan.evaluation.comparison import write_comparison
    from jaxgan.evaluation.report import write_report
    from jaxgan.evaluation.seeds import summary

    try:
        if asked.json:
            print(json.dumps([summary(directory) for directory in asked.runs]))
        elif len(asked.runs) == 1:
            print(write_report(asked.runs[0]))
        else:
            with writing(asked.out):
                print(write_comparison(asked.runs, asked.out))
    except ValueError as error:
        raise RequestError(str(error)) from error
    return DONE
