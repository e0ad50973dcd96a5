"""The command line: ``jaxgan train | resume | sample | interpolate | evaluate | report | list | data``.

Light until it knows what is asked: help and `list` answer without importing JAX. Mistakes in the
request end with one line on standard error and status 2, interruptions with 130 or 143 (saved),
NaN or collapse with 3, and a disk that cannot be written with 1.
"""

import dataclasses
import json
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from jaxgan import recipes
from jaxgan.config import Options, RequestError, check_seed, finite, parse

DONE, FAILED, MISTAKE, BROKEN = 0, 1, 2, 3

HELP = """\
usage: jaxgan COMMAND ...

  train RECIPE     train a system; prints the folder of the run
  resume RUN       go on with an interrupted run
  sample RUN       generated examples as a picture, an archive or a folder
  interpolate RUN  the path between latents as a strip and an animation
  evaluate RUN     measure what was trained
  report RUN ...   one page about a run, or one that compares several
  list             the systems there are
  data             the data sets there are, and where they lie

jaxgan COMMAND --help tells more; jaxgan train RECIPE --help shows all flags of a system.\
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point; exits with a status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = run(arguments)
    except RequestError as error:
        status = fail(str(error), MISTAKE)
    except KeyboardInterrupt:
        status = fail("interrupted before anything was trained", 128 + signal.SIGINT)
    except BrokenPipeError:
        # whoever read our output went away: not our failure, and nothing more can be said there
        sys.stderr.close()
        status = DONE
    except OSError as error:
        status = fail(str(error), FAILED)
    sys.exit(status)


def fail(message: str, status: int) -> int:
    print(f"jaxgan: {' '.join(message.split())}", file=sys.stderr, flush=True)
    return status


def run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP)
        return DONE
    if arguments[0] == "--version":
        from jaxgan import __version__

        print(f"jaxgan {__version__}")
        return DONE
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        raise RequestError(f"there is no command {name!r}; there are {', '.join(COMMANDS)} (see jaxgan --help)")
    return COMMANDS[name](rest)


# -- train, resume -----------------------------------------------------------------------------------


def train(arguments: list[str]) -> int:
    usage = f"usage: jaxgan train RECIPE [flags]; recipes: {', '.join(recipes.INDEX)}"
    if not arguments:
        raise RequestError(f"train what? {usage}")
    if arguments[0] in ("-h", "--help"):
        print(f"{usage}\njaxgan train RECIPE --help shows the flags of one.")
        return DONE
    recipe, rest = arguments[0], arguments[1:]
    if recipe.startswith("-"):
        raise RequestError(f"the recipe comes first: {usage}")
    module = recipes.find(recipe)
    from jaxgan.run import find_preset

    preset, rest = _take(rest, "--preset", "cpu")
    chosen = find_preset(recipe, preset)
    dry, rest = "--dry-run" in rest, [a for a in rest if a != "--dry-run"]
    rest = _gathered(rest, "--vary")
    flags = _request_type(module.Config)
    description = (
        f"{(module.__doc__ or '').strip()}\n\n--preset: {' | '.join(module.PRESETS)} (the defaults below are those of "
        f"{preset}). --dry-run: say what would run, and do nothing."
    )
    asked = parse(flags, rest, f"jaxgan train {recipe}", flags(chosen.options, chosen.config), description)

    from jaxgan.run import configure_backend, dry_run, prepare, start

    configure_backend()
    request = prepare(recipe, asked.config, asked.options)
    if dry:
        print(dry_run(request))
        return DONE
    directory, outcome = start(request, ["jaxgan", "train", *arguments])
    return _ended(directory, outcome)


def resume(arguments: list[str]) -> int:
    @dataclass(frozen=True)
    class Resume:
        """Continues a run from its newest intact checkpoint, bit for bit as if it had never stopped."""

        run: Annotated[Path, _positional()]
        """Folder of the run."""
        steps: int | None = None
        """Another length for the run."""

    asked = parse(Resume, arguments, "jaxgan resume")
    from jaxgan import run

    run.configure_backend()
    return _ended(asked.run, run.resume(asked.run, asked.steps))


def _ended(directory: Path, outcome: Any) -> int:
    from jaxgan.evaluation.record import summary

    found = summary(directory)
    for name, value in found["metrics"].items():
        print(f"{name:32} {value:.4g}" if isinstance(value, float) else f"{name:32} {value}", file=sys.stderr)
    for line in _member_table(found.get("population", [])):
        print(line, file=sys.stderr)
    print(f"report: {directory / 'report.html'}", file=sys.stderr, flush=True)
    print(directory, flush=True)
    if outcome.stopped == "end":
        return DONE
    if outcome.stopped in ("SIGINT", "SIGTERM"):
        return fail(
            f"interrupted; {outcome.message}; go on with jaxgan resume {directory}",
            128 + signal.Signals[outcome.stopped],
        )
    return fail(f"stopped at step {outcome.step}: {outcome.message}", BROKEN)


def _member_table(combinations: list[dict[str, Any]]) -> list[str]:
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


def _request_type(kind: type) -> Any:
    import tyro

    # made, not written: tyro would show a comment beside a field as its help
    plain: Any = tyro.conf.OmitArgPrefixes
    return dataclasses.make_dataclass("Flags", [("options", plain[Options]), ("config", plain[kind])], frozen=True)


def _positional() -> Any:
    import tyro

    return tyro.conf.Positional


def _take(arguments: list[str], flag: str, default: str) -> tuple[str, list[str]]:
    """The value of a flag that decides how the others are read, and the arguments without it."""
    rest, value = [], default
    remaining = iter(arguments)
    for argument in remaining:
        if argument == flag:
            taken = next(remaining, None)
            if taken is None:
                raise RequestError(f"{flag} needs a value")
            value = taken
        elif argument.startswith(flag + "="):
            value = argument.partition("=")[2]
        else:
            rest.append(argument)
    return value, rest


def _gathered(arguments: list[str], flag: str) -> list[str]:
    """The arguments with all values of a flag that may be given several times behind one."""
    rest: list[str] = []
    values: list[str] = []
    into = rest
    for argument in arguments:
        if argument.startswith("-"):
            into = values if argument == flag or argument.startswith(flag + "=") else rest
            if into is values:
                values += [argument.partition("=")[2]] if "=" in argument else []
                continue
        into.append(argument)
    return [*rest, flag, *values] if values else rest + [a for a in arguments if a == flag][:1]


# -- what was trained --------------------------------------------------------------------------------


def sample(arguments: list[str]) -> int:
    @dataclass(frozen=True)
    class Sample:
        """Generated examples: a picture (.png), an archive (.npz, key `samples`), or a folder of PNGs."""

        run: Annotated[Path, _positional()]
        """Folder of the run."""
        n: int = 64
        """How many."""
        seed: int = 0
        """Of the latents."""
        class_: Annotated[int | None, _named("class")] = None
        """Class index, for conditional systems."""
        truncation: float = 1.0
        """1 samples as trained, towards 0 less varied and more typical."""
        member: int | None = None
        """Of a population; by default the first."""
        checkpoint: str = "final"
        """final, best, or a step."""
        out: Path | None = None
        """FILE.png, FILE.npz or a folder; by default a PNG in the run's folder."""

    asked = parse(Sample, arguments, "jaxgan sample")
    if asked.n < 1:
        raise RequestError(f"--n is at least 1, got {asked.n}")
    check_seed(asked.seed)
    from jaxgan import run as runs

    runs.configure_backend()
    run = runs.load(asked.run, asked.checkpoint, asked.member)
    outputs = run.sample(asked.n, asked.seed, asked.class_, asked.truncation)
    out = asked.out or asked.run / f"sample{_of(asked.member)}-seed{asked.seed}-n{asked.n}.png"
    import numpy as np

    from jaxgan.arrays import to_uint8
    from jaxgan.training.log import write_picture

    with _writing(out):
        if out.suffix == ".npz":
            np.savez_compressed(out, samples=outputs)
        elif out.suffix == ".png":
            write_picture(out, run.draw(outputs))
        elif out.suffix:
            raise RequestError(f"--out {out} ends in .png, .npz, or is a folder")
        elif outputs.ndim != 4:
            raise RequestError(f"a folder of PNGs holds images, and {asked.run} makes points: use --out FILE.npz")
        else:
            out.mkdir(parents=True, exist_ok=True)
            for i, image in enumerate(np.asarray(to_uint8(outputs))):
                write_picture(out / f"{i:06d}.png", image)
    print(out)
    return DONE


def interpolate(arguments: list[str]) -> int:
    @dataclass(frozen=True)
    class Interpolate:
        """The way from one latent to another, as a strip of pictures (PNG) and an animation (GIF)."""

        run: Annotated[Path, _positional()]
        """Folder of the run."""
        path: Literal["spherical", "linear"] = "spherical"
        """Along the sphere, where latents are, or along the straight line."""
        rows: int = 4
        """Pairs of latents."""
        frames: int = 12
        """Pictures from one end to the other, both included."""
        seed: int = 0
        """Of the latents."""
        member: int | None = None
        """Of a population; by default the first."""
        checkpoint: str = "final"
        """final, best, or a step."""
        out: Path | None = None
        """Where FILE.png and FILE.gif go; by default into the run's folder."""

    asked = parse(Interpolate, arguments, "jaxgan interpolate")
    if asked.rows < 1 or asked.frames < 2:
        raise RequestError(f"--rows is at least 1 and --frames at least 2, got {asked.rows} and {asked.frames}")
    check_seed(asked.seed)
    from jaxgan import run as runs

    runs.configure_backend()
    run = runs.load(asked.run, asked.checkpoint, asked.member)
    out = (asked.out or asked.run / f"interpolation{_of(asked.member)}-{asked.path}-seed{asked.seed}").with_suffix(
        ".png"
    )
    from jaxgan.recipes.pictures import interpolation

    with _writing(out):
        interpolation(run, out, asked.path == "spherical", asked.rows, asked.frames, asked.seed)
    print(out)
    print(out.with_suffix(".gif"))
    return DONE


def evaluate(arguments: list[str]) -> int:
    @dataclass(frozen=True)
    class Evaluate:
        """Measures what was trained with the evaluations of its recipe."""

        run: Annotated[Path, _positional()]
        """Folder of the run."""
        n: int | None = None
        """Generated samples; by default as in training."""
        seed: int = 0
        """Of the samples."""
        features: str | None = None
        """auto, classifier, random-conv, or the folder of a classifier run; by default as in training."""
        member: int | None = None
        """Of a population; by default all, and their mean with its standard error."""
        checkpoint: str = "final"
        """final, best, or a step."""
        json: bool = False
        """Print JSON."""

    asked = parse(Evaluate, arguments, "jaxgan evaluate")
    if asked.n is not None and asked.n < 2:
        raise RequestError(f"--n is at least 2, got {asked.n}")
    check_seed(asked.seed)
    from jaxgan import run as runs

    runs.configure_backend()
    result = runs.evaluate(asked.run, asked.n, asked.seed, asked.features, asked.checkpoint, asked.member)
    if asked.json:
        print(json.dumps(finite(result)))
        return DONE
    members = result.pop("members", [])
    for name, value in result.items():
        if isinstance(value, dict):
            print(f"{name}:")
            for metric, number in value.items():
                print(f"  {metric:24} {number:.6g}" if isinstance(number, float) else f"  {metric:24} {number}")
        else:
            print(f"{name}: {value}")
    if members:
        from jaxgan.evaluation.record import combined_evaluations

        print("\n".join(_member_table(combined_evaluations(members))))
    return DONE


def _of(member: int | None) -> str:
    return "" if member is None else f"-member{member:02d}"


def report(arguments: list[str]) -> int:
    @dataclass(frozen=True)
    class Report:
        """Writes the page of one run (report.html in its folder), or one page that compares several."""

        runs: Annotated[tuple[Path, ...], _positional()]
        """Folders of runs."""
        out: Path = Path("comparison.html")
        """Where the comparison of several runs goes."""
        json: bool = False
        """Print the runs' summaries as JSON instead."""

    asked = parse(Report, arguments, "jaxgan report")
    if not asked.runs:
        raise RequestError("report on what? usage: jaxgan report RUN [RUN ...]")
    from jaxgan.evaluation.record import summary
    from jaxgan.evaluation.report import write_comparison, write_report

    try:
        if asked.json:
            print(json.dumps([summary(directory) for directory in asked.runs]))
        elif len(asked.runs) == 1:
            print(write_report(asked.runs[0]))
        else:
            with _writing(asked.out):
                print(write_comparison(asked.runs, asked.out))
    except ValueError as error:
        raise RequestError(str(error)) from error
    return DONE


# -- what there is -----------------------------------------------------------------------------------


def list_recipes(arguments: list[str]) -> int:
    if any(argument not in ("--json",) for argument in arguments):
        wants_help = arguments[0] in ("-h", "--help")
        print("usage: jaxgan list [--json]", file=sys.stdout if wants_help else sys.stderr)
        return DONE if wants_help else MISTAKE
    entries = [dataclasses.asdict(entry) for entry in recipes.INDEX.values()]
    if arguments:
        print(json.dumps(entries))
        return DONE
    entries.insert(0, {"name": "RECIPE", "system": "SYSTEM", "paper": "PAPER", "data": "DATA", "time": "TIME, 2 CORES"})
    widths = {key: max(len(entry[key]) for entry in entries) for key in entries[0]}
    for entry in entries:
        print("  ".join(entry[key].ljust(widths[key]) for key in entry).rstrip())
    return DONE


def data(arguments: list[str]) -> int:
    @dataclass(frozen=True)
    class Data:
        """Shows the data sets that are known by name and those that are prepared, or prepares one."""

        action: Annotated[Literal["show", "prepare"], _positional()] = "show"
        """show, or prepare NAME."""
        name: Annotated[str | None, _positional()] = None
        """Data set to prepare."""
        data_dir: Path | None = None
        """Where prepared data sets lie."""
        files: Path | None = None
        """A folder with the official files, used instead of downloading them."""
        json: bool = False
        """Print JSON."""

    asked = parse(Data, arguments, "jaxgan data")
    from jaxgan.data import catalogue
    from jaxgan.data.images import DataError
    from jaxgan.data.tfds import default_data_dir

    try:
        if asked.action == "prepare":
            if asked.name is None:
                raise RequestError(f"prepare what? known by name: {', '.join(catalogue.KNOWN)}")
            print(catalogue.prepare(asked.name, asked.data_dir, asked.files).path)
            return DONE
        there = [row._asdict() | {"path": str(row.path)} for row in catalogue.prepared(asked.data_dir)]
    except DataError as error:
        raise RequestError(str(error)) from error
    folder = asked.data_dir or default_data_dir()
    if asked.json:
        known = [dataclasses.asdict(row) for row in catalogue.KNOWN.values()]
        print(json.dumps({"folder": str(folder), "prepared": there, "known": known}))
        return DONE
    print(f"prepared in {folder}:" if there else f"nothing is prepared in {folder} yet")
    for row in there:
        sizes = f"{row['num_train']:,} train, {row['num_test']:,} test, {row['num_bytes'] / 2**20:.1f} MiB"
        print(f"  {row['name']} {row['version']}: {sizes}, {row['path']}")
    print("known by name:")
    for name, entry in catalogue.KNOWN.items():
        print(f"  {name:14} {entry.description}")
    print("any other image set of tensorflow-datasets by its name, folder:PATH, npz:PATH, and the toys ring and grid")
    return DONE


def _named(name: str) -> Any:
    import tyro

    return tyro.conf.arg(name=name)


class _writing:
    """Turns a failure to write `out` into a request error that names it; makes its folder."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def __enter__(self) -> None:
        try:
            self.out.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RequestError(f"--out {self.out}: {error.strerror}") from error

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, OSError):
            raise RequestError(f"--out {self.out}: {error.strerror or error}") from error


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": train,
    "resume": resume,
    "sample": sample,
    "interpolate": interpolate,
    "evaluate": evaluate,
    "report": report,
    "list": list_recipes,
    "data": data,
}

if __name__ == "__main__":
    main()
