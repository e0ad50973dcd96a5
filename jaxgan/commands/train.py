"""``jaxgan train`` and ``resume``."""

import dataclasses
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from jaxgan import recipes
from jaxgan.commands.flags import BROKEN, DONE, fail, positional
from jaxgan.commands.measure import evaluation_lines, member_table
from jaxgan.config import Options, RequestError, parse


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

        run: Annotated[Path, positional()]
        """Folder of the run."""
        steps: int | None = None
        """Another length for the run."""

    asked = parse(Resume, arguments, "jaxgan resume")
    from jaxgan import run

    run.configure_backend()
    return _ended(asked.run, run.resume(asked.run, asked.steps))


def _ended(directory: Path, outcome: Any) -> int:
    from jaxgan.evaluation.seeds import summary

    found = summary(directory)
    ends = {row["checkpoint"]: row for row in found.get("measurements", [])}
    if ends and "population" not in found:
        final = {"run": "", "checkpoint": "final", "step": ends["final"]["step"], "images": ends["final"]}
        best = {"best": {"step": ends["best"]["step"], "images": ends["best"]}} if "best" in ends else {}
        print("\n".join(evaluation_lines([final | best])[3:]), file=sys.stderr)
    else:
        for name, value in found["metrics"].items():
            print(f"{name:32} {value:.4g}" if isinstance(value, float) else f"{name:32} {value}", file=sys.stderr)
    for line in member_table(found.get("population", [])):
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


def _request_type(kind: type) -> Any:
    import tyro

    # made, not written: tyro would show a comment beside a field as its help
    plain: Any = tyro.conf.OmitArgPrefixes
    return dataclasses.make_dataclass("Flags", [("options", plain[Options]), ("config", plain[kind])], frozen=True)


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
