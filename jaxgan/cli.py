"""The command line: ``jaxgan train | resume | sample | interpolate | arithmetic | directions | invert | neighbours |
evaluate | spectrum | report | list | data``.

Light until it knows what is asked: help and `list` answer without importing JAX. Mistakes in the
request end with one line on standard error and status 2, interruptions with 130 or 143 (saved),
NaN or collapse with 3, and a disk that cannot be written with 1.
"""

import dataclasses
import inspect
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
  arithmetic RUN   means of latents added and taken away: thick 3 - 3 + 8
  directions RUN   directions in latent space and what each changes
  invert RUN ...   the latents of real pictures
  neighbours RUN   samples beside their nearest training images
  evaluate WHAT    metrics of a run, or of a folder or archive of images
  spectrum RUN     eigenvalues of the game: does it converge, rotate or diverge?
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
    ends = {row["checkpoint"]: row for row in found.get("measurements", [])}
    if ends and "population" not in found:
        final = {"run": "", "checkpoint": "final", "step": ends["final"]["step"], "images": ends["final"]}
        best = {"best": {"step": ends["best"]["step"], "images": ends["best"]}} if "best" in ends else {}
        print("\n".join(_evaluation_lines([final | best])[3:]), file=sys.stderr)
    else:
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


def arithmetic(arguments: list[str]) -> int:
    @dataclass(frozen=True)
    class Arithmetic:
        """Means of chosen samples' latents, added and taken away: does the result have what was asked for?

        A SEL chooses samples: a class of the data, by name or number as the classifier sees it; thick, thin,
        slanted-left, slanted-right, wide or narrow, the tenth of the samples that is most so; or both, as 3:thick.
        --plus 3:thick 8 --minus 3 asks for thick eights. The difference is added to fresh latents at several
        strengths, beside random directions of equal length. A system that is told its class has latents without
        it: there arithmetic is on the latent within classes, and attributes are what can be chosen.

        The sheet: for each SEL the picture of the mean latent and some of the samples; fresh samples along the
        direction, a column for each strength; and the same along random ones.
        """

        run: Annotated[Path, _positional()]
        """Folder of the run."""
        plus: tuple[str, ...]
        """SELs to add."""
        minus: tuple[str, ...] = ()
        """SELs to take away."""
        strengths: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0, 3.0)
        """How many times the direction is added."""
        n: int = 2000
        """Samples that are chosen from, and fresh ones that are moved."""
        seed: int = 0
        """Of the latents."""
        class_: Annotated[int | None, _named("class")] = None
        """Class index, for conditional systems; by default all."""
        space: Literal["z", "w"] | None = None
        """Latent space; by default w where there is one."""
        features: str | None = None
        """Feature net that tells classes; by default that of the training."""
        member: int | None = None
        """Of a population; by default the first."""
        checkpoint: str = "final"
        """final, best, or a step."""
        out: Path | None = None
        """Where FILE.png goes; by default into the run's folder."""

    asked = parse(Arithmetic, arguments, "jaxgan arithmetic", description=inspect.cleandoc(Arithmetic.__doc__ or ""))
    _check_exploration(asked.n, asked.seed)
    if not asked.plus or not asked.strengths:
        raise RequestError("--plus and --strengths take at least one value")
    out = _picture_out(asked, f"arithmetic{_of(asked.member)}-seed{asked.seed}")
    run = _explorer(asked)
    from jaxgan.explore.arithmetic import arithmetic, draw, table

    found = arithmetic(run, asked.plus, asked.minus, asked.strengths, asked.n, asked.seed, asked.class_)
    print("\n".join(table(found, run.space.name)))
    with _writing(out):
        draw(found, out)
    print(out)
    return DONE


def directions(arguments: list[str]) -> int:
    @dataclass(frozen=True)
    class Directions:
        """Directions in latent space, as a sheet (a row each, from -S to S) and an animation of four samples each.

        pca: principal components of styles, or in z of the pictures, as latents. factorisation: leading eigenvectors
        of the first layer's weight. supervised: the direction in which a --score rises, one for each score:
        thickness, slant, width or mass, thick, thin, slanted-left and so on, or class:NAME. A step of 1 is one
        standard deviation of the latents.
        """

        run: Annotated[Path, _positional()]
        """Folder of the run."""
        method: Literal["pca", "factorisation", "supervised"] = "pca"
        """How they are found."""
        score: tuple[str, ...] = ()
        """Of supervised directions."""
        count: int | None = None
        """How many, 5 by default; supervised ones are as many as scores."""
        strength: float = 3.0
        """S, how far the sheet goes to either side."""
        columns: int = 9
        """Pictures in a row, and frames of the animation."""
        n: int = 2000
        """Samples that directions are found with."""
        seed: int = 0
        """Of the latents."""
        class_: Annotated[int | None, _named("class")] = None
        """Class index, for conditional systems; by default all, and any one in the pictures."""
        space: Literal["z", "w"] | None = None
        """Latent space; by default w where there is one."""
        features: str | None = None
        """Feature net that tells classes; by default that of the training."""
        member: int | None = None
        """Of a population; by default the first."""
        checkpoint: str = "final"
        """final, best, or a step."""
        out: Path | None = None
        """Where FILE.png and FILE.gif go; by default into the run's folder."""

    asked = parse(Directions, arguments, "jaxgan directions", description=inspect.cleandoc(Directions.__doc__ or ""))
    _check_exploration(asked.n, asked.seed)
    supervised = asked.method == "supervised"
    if supervised != bool(asked.score) or (supervised and asked.count is not None):
        raise RequestError("--method supervised takes --score SCORE ..., a direction each; the others take --count")
    if not asked.strength > 0 or asked.columns < 2 or (asked.count or 1) < 1:
        raise RequestError("--strength is above 0, --columns at least 2 and --count at least 1")
    out = _picture_out(asked, f"directions{_of(asked.member)}-{asked.method}-seed{asked.seed}")
    run = _explorer(asked)
    from jaxgan.explore import walks

    found = walks.find(run, asked.method, asked.count or 5, asked.score, asked.n, asked.seed, asked.class_)
    for line in walks.table(run, found, asked.strength, asked.seed, asked.class_):
        print(line)
    with _writing(out):
        walks.draw(run, found, out, asked.strength, asked.columns, asked.seed, asked.class_)
    print(out)
    print(out.with_suffix(".gif"))
    return DONE


def invert(arguments: list[str]) -> int:
    @dataclass(frozen=True)
    class Invert:
        """The latents of real pictures, by optimisation: how near does the generator come to them?

        Prints the mean squared error of pixels in [-1, 1] of each reconstruction, beside that of the nearest of the
        random latents the search began with. Writes originals and reconstructions in pairs (PNG) and the latents (NPZ:
        latent, image, reconstruction, error, label where the system is told one).
        """

        run: Annotated[Path, _positional()]
        """Folder of the run."""
        images: Annotated[tuple[str, ...], _positional()]
        """Files or folders of pictures, or test:INDEX of the run's data set."""
        steps: int = 500
        """Steps of Adam."""
        restarts: int = 8
        """Latents the search begins with; the nearest at the end is kept."""
        seed: int = 0
        """Of these latents."""
        class_: Annotated[int | None, _named("class")] = None
        """Class index, for conditional systems; by default the picture's own, or what the classifier sees."""
        feature_weight: float = 0.0
        """Weight of the difference of features beside that of pixels."""
        prior_weight: float = 0.01
        """Weight that holds the latent at the norm that latents have."""
        space: Literal["z", "w"] | None = None
        """Latent space; by default w where there is one."""
        features: str | None = None
        """Feature net; by default that of the training."""
        member: int | None = None
        """Of a population; by default the first."""
        checkpoint: str = "final"
        """final, best, or a step."""
        out: Path | None = None
        """Where FILE.png and FILE.npz go; by default into the run's folder."""

    asked = parse(Invert, arguments, "jaxgan invert", description=inspect.cleandoc(Invert.__doc__ or ""))
    check_seed(asked.seed)
    if asked.steps < 1 or asked.restarts < 1:
        raise RequestError(f"--steps and --restarts are at least 1, got {asked.steps} and {asked.restarts}")
    if not (asked.feature_weight >= 0 and asked.prior_weight >= 0):
        raise RequestError("--feature-weight and --prior-weight are at least 0")
    if not asked.images:
        raise RequestError("invert which pictures? usage: jaxgan invert RUN IMAGE ..., files, folders or test:INDEX")
    out = _picture_out(asked, f"inversion{_of(asked.member)}-seed{asked.seed}")
    run = _explorer(asked)
    from jaxgan.explore import inversion

    names, images, label = inversion.read_pictures(run, asked.images)
    label = inversion.told(run, len(images), asked.class_, label)
    found = inversion.invert(
        run,
        images,
        label,
        asked.steps,
        asked.restarts,
        asked.seed,
        feature_weight=asked.feature_weight,
        prior_weight=asked.prior_weight,
    )
    print("\n".join(inversion.table(names, found)))
    with _writing(out):
        inversion.write(found, out)
    print(out)
    print(out.with_suffix(".npz"))
    return DONE


def neighbours(arguments: list[str]) -> int:
    @dataclass(frozen=True)
    class Neighbours:
        """Samples, each beside its nearest training images on the feature net: copies would show."""

        run: Annotated[Path, _positional()]
        """Folder of the run."""
        n: int = 8
        """Samples."""
        seed: int = 0
        """Of the latents."""
        features: str | None = None
        """Feature net; by default that of the training."""
        member: int | None = None
        """Of a population; by default the first."""
        checkpoint: str = "final"
        """final, best, or a step."""
        out: Path | None = None
        """Where FILE.png goes; by default into the run's folder."""

    asked = parse(Neighbours, arguments, "jaxgan neighbours")
    if asked.n < 1:
        raise RequestError(f"--n is at least 1, got {asked.n}")
    check_seed(asked.seed)
    out = _picture_out(asked, f"neighbours{_of(asked.member)}-seed{asked.seed}")
    from jaxgan import run as runs
    from jaxgan.evaluate import draw_neighbours

    runs.configure_backend()
    with _writing(out):
        draw_neighbours(runs.load(asked.run, asked.checkpoint, asked.member), out, asked.n, asked.seed, asked.features)
    print(out)
    return DONE


def _explorer(asked: Any) -> Any:
    from jaxgan import run as runs
    from jaxgan.explore.space import explorer

    runs.configure_backend()
    return explorer(runs.load(asked.run, asked.checkpoint, asked.member), asked.space, asked.features)


def _check_exploration(n: int, seed: int) -> None:
    if n < 50:
        raise RequestError(f"--n is at least 50, got {n}")
    check_seed(seed)


def _picture_out(asked: Any, name: str) -> Path:
    """The PNG that was asked for, or that of this name in the run's folder; found out now, not after the work."""
    out: Path = (asked.out or asked.run / name).with_suffix(".png")
    if asked.out is not None:
        with _writing(out):
            pass
    return out


def evaluate(arguments: list[str]) -> int:
    @dataclass(frozen=True)
    class Evaluate:
        """Measures a run, or any folder or archive of images, and says how."""

        what: Annotated[Path, _positional()]
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
        print("\n".join(_evaluation_lines(results)))
    return DONE


def _evaluation_lines(results: list[dict[str, Any]]) -> list[str]:
    """What evaluations say in words: a column for each checkpoint, or a table of a population's members."""
    from jaxgan.evaluation.record import combined_evaluations, label_of, measured, protocol

    first = results[0]
    if "members" in first:
        if len(results) > 1:
            raise RequestError("--resamplings is for one run: of a population say which --member")
        lines = [f"{name}: {value}" for name, value in first.items() if name not in ("members", "best")]
        for name, one in [("final", first), *([("best", first["best"])] if "best" in first else [])]:
            lines += [f"{name}, step {one['step']}:"] if "best" in first else []
            lines += _member_table(combined_evaluations(one["members"]))
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
    from jaxgan.evaluation.record import mean_and_error, number

    if len(rows) > 1:
        over = mean_and_error([number(one.get(metric)) for one in rows])
        return f"{over['mean']:.6g} ± {(over['error'] or 0.0) * len(rows) ** 0.5:.2g}"
    error = rows[0].get(f"{metric}_error")
    return f"{number(rows[0].get(metric)):.6g}" + ("" if error is None else f" ± {error:.2g}")


def spectrum(arguments: list[str]) -> int:
    @dataclass(frozen=True)
    class Spectrum:
        """Leading eigenvalues of the game's Jacobian, and what they say: converging, rotating or diverging.

        The flow is that of simultaneous gradient descent of each player on its own loss, with steps of vanishing
        size: Adam's rescaling is not in it. Away from a stationary point it says how the flow changes nearby.
        Writes a picture of the complex plane (PNG) and the numbers (JSON).
        """

        run: Annotated[Path, _positional()]
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
    out = asked.out or asked.run / f"spectrum{_of(asked.member)}.png"
    if out.suffix != ".png":
        raise RequestError(f"--out {out} ends in .png")
    if asked.out is not None:
        with _writing(out):  # found out now, not after a minute of work
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
    with _writing(out):
        draw(out, found, f"Eigenvalues of the game's Jacobian, {asked.run.name}")
        out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result) if asked.json else out)
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
    "arithmetic": arithmetic,
    "directions": directions,
    "invert": invert,
    "neighbours": neighbours,
    "evaluate": evaluate,
    "spectrum": spectrum,
    "report": report,
    "list": list_recipes,
    "data": data,
}

if __name__ == "__main__":
    main()
