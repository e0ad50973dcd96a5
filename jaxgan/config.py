"""What a run was asked to be: options common to all recipes, and dataclasses to and from JSON and flags."""

import contextlib
import dataclasses
import difflib
import io
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


class RequestError(ValueError):
    """A mistake in what was asked for: one line that says what is wrong and what would be right."""


def at_least(config: Any, least: float, *names: str) -> None:
    """Refuses a config with a smaller value (or NaN) in one of these fields."""
    for name in names:
        if not getattr(config, name) >= least:
            raise RequestError(f"--{name.replace('_', '-')} is at least {least}, got {getattr(config, name)}")


def fraction(config: Any, *names: str) -> None:
    """Refuses a config with a value outside [0, 1) in one of these fields."""
    for name in names:
        if not 0 <= getattr(config, name) < 1:
            raise RequestError(f"--{name.replace('_', '-')} lies in [0, 1), got {getattr(config, name)}")


def check_seed(seed: int) -> None:
    if not 0 <= seed < 2**32:
        raise RequestError(f"--seed lies in 0..{2**32 - 1}, got {seed}")


@dataclass(frozen=True)
class Options:
    """The flags that every recipe has."""

    steps: int = 1000
    """Length of the run in steps; one step consumes one batch."""
    batch: int = 64
    """Examples a step."""
    seed: int = 0
    """Everything random follows from it."""
    seeds: int = 1
    """Runs with seeds from --seed on, trained together into one folder, as members of a population."""
    vary: tuple[str, ...] = ()
    """Settings in which members differ, NAME=VALUE,VALUE,...; several make all combinations, each with all seeds."""
    data: str = "digits"
    """A name (see `jaxgan data`), folder:PATH (subfolders are classes), npz:PATH, or what translation learns from:
    X+Y, pairs:PATH, domains:PATH."""
    data_dir: str | None = None
    """Where prepared data sets lie, or a folder with a data set's official files."""
    size: int | None = None
    """Side in pixels to which folder: images are resized."""
    resizer: Literal["box", "bilinear", "bicubic", "lanczos", "nearest"] = "lanczos"
    """Filter of that resizing."""
    features: str = "auto"
    """Feature net of the evaluation: classifier, random-conv, or a run of `classifier`; auto is the
    classifier of the data set (trained once, then cached) where there are labels."""
    evaluate_samples: int = 2000
    """Generated samples an evaluation."""
    outdir: str = "runs"
    """Where run folders are made."""
    name: str | None = None
    """Name of the run's folder; by default NUMBER-RECIPE-DATA-seedSEED."""
    devices: int | None = None
    """Devices to train on; by default as many as help."""
    log_every: int = 50
    """Steps between rows of metrics."""
    sample_every: int = 500
    """Steps between sample sheets, 0 for the last step only."""
    save_every: int = 1000
    """Steps between checkpoints, 0 for the last step only."""
    evaluate_every: int = 0
    """Steps between evaluations, 0 for the last step only."""
    keep: int = 3
    """Checkpoints to keep besides the best."""
    on_collapse: Literal["warn", "stop", "rollback"] = "warn"
    """When the samples collapse: go on, stop with status 3, or go back to a checkpoint with another key."""
    resume_from: str | None = None
    """A run whose trained parameters this one starts from."""

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "batch", "keep", "evaluate_samples")
        at_least(self, 0, "log_every", "sample_every", "save_every", "evaluate_every")
        at_least(self, 1, "seeds")
        check_seed(self.seed)
        check_seed(self.seed + self.seeds - 1)
        if self.population and self.on_collapse != "warn":
            raise RequestError(
                f"--on-collapse {self.on_collapse} is for a single run: with --seeds or --vary it is warn"
            )
        if self.name is not None and (Path(self.name).name != self.name or self.name == ".."):
            raise RequestError(f"--name is that of one folder, got {self.name!r}: --outdir says where it lies")
        if self.evaluate_samples < 2:
            raise RequestError("--evaluate-samples is at least 2: a covariance needs two samples")

    @property
    def population(self) -> bool:
        """Whether the run has members."""
        return self.seeds > 1 or bool(self.vary)


@dataclass(frozen=True)
class Preset:
    """Values that belong together: a recipe's config, and options that differ from the common defaults."""

    config: Any
    options: Options


def to_json(value: Any) -> dict[str, Any]:
    """A config as a JSON object."""
    return json.loads(json.dumps(dataclasses.asdict(value)))


def finite(value: Any) -> Any:
    """Numbers that JSON does not have as None, within mappings and lists too."""
    if isinstance(value, dict):
        return {name: finite(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def from_json(kind: type[T], values: dict[str, Any]) -> T:
    """The inverse of `to_json`; unknown and missing fields and wrong types are refused by name."""
    hints = get_type_hints(kind)
    fields = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if fields != set(values):
        odd = sorted(fields ^ set(values))
        raise RequestError(f"fields {odd} do not belong to this version's {kind.__name__}")
    return kind(**{name: _typed(name, value, hints[name]) for name, value in values.items()})


def settings(config: Any) -> dict[str, Any]:
    """Every setting by the name of its flag, those of nested configs among the others."""
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        flat |= settings(value) if dataclasses.is_dataclass(value) else {field.name: value}
    return flat


def changed(config: T, values: Mapping[str, Any]) -> T:
    """`config` with other values in the settings of these names, nested ones too; names it lacks change nothing."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            found[field.name] = changed(value, values)
        elif field.name in values:
            found[field.name] = values[field.name]
    return dataclasses.replace(config, **found)  # type: ignore[type-var]


def combinations(config: Any, options: Options) -> list[dict[str, Any]]:
    """The values of `options.vary`, all combinations in the order asked for; one without values if nothing varies.

    Every combination is one that `config` accepts; a `RequestError` says what is wrong otherwise.
    """
    hints, varied = _hints(config), {}
    for item in options.vary:
        name, equals, texts = item.partition("=")
        name = name.lstrip("-").replace("-", "_")
        if not equals or not texts:
            raise RequestError(f"--vary takes NAME=VALUE,VALUE,..., got {item!r}")
        if name in {field.name for field in dataclasses.fields(Options)}:
            raise RequestError(f"--vary {name}: all members of a population share it; settings of the recipe vary")
        if name not in hints:
            close = difflib.get_close_matches(name, hints, 1)
            suggestion = f"perhaps you meant {close[0]}" if close else f"there are {', '.join(sorted(hints))}"
            raise RequestError(f"--vary {name}: there is no such setting; {suggestion}")
        if name in varied:
            raise RequestError(f"--vary {name} was given twice: give all its values at once")
        varied[name] = [_read(name, text.strip(), hints[name]) for text in texts.split(",")]
        if len(set(varied[name])) < len(varied[name]):
            raise RequestError(f"--vary {name}: its values differ, got {texts}")
    found = [dict(zip(varied, values, strict=True)) for values in itertools.product(*varied.values())]
    for values in found:
        changed(config, values)
    return found


def _hints(config: Any) -> dict[str, Any]:
    """The type of every setting, by name."""
    hints = get_type_hints(type(config))
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        flat |= _hints(value) if dataclasses.is_dataclass(value) else {field.name: hints[field.name]}
    return flat


def _read(name: str, text: str, hint: Any) -> Any:
    """One value of a setting as it is typed."""
    if get_origin(hint) is Literal:
        return _typed(f"--vary {name}", text, hint)
    kinds = get_args(hint) if get_origin(hint) is not None and get_origin(hint) is not tuple else (hint,)
    words = {"true": True, "false": False} if bool in kinds else {"none": None} if type(None) in kinds else {}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float, str):
        if kind in kinds:
            with contextlib.suppress(ValueError):
                return kind(text)
    number = ["a number"] if float in kinds else ["a whole number"] if int in kinds else []
    raise RequestError(f"--vary {name}: {text!r} is not {' or '.join([*number, *words])}")


def _typed(name: str, value: Any, hint: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise RequestError(f"{name} has type {type(value).__name__}, expected an object")
        return from_json(hint, value)  # type: ignore[arg-type]
    if get_origin(hint) is tuple:
        value = tuple(value)
    allowed = get_args(hint) if get_origin(hint) is not None and get_origin(hint) is not tuple else (hint,)
    if get_origin(hint) is Literal:
        if value not in allowed:
            raise RequestError(f"{name} is one of {list(allowed)}, got {value!r}")
        return value
    kinds = tuple(get_origin(k) or k for k in allowed)
    if not isinstance(value, kinds) and not (float in kinds and isinstance(value, int)):
        raise RequestError(f"{name} has type {type(value).__name__}, expected {hint}")
    return value


def parse(kind: type[T], arguments: Sequence[str], program: str, default: T | None = None, description: str = "") -> T:
    """Reads flags into a dataclass; mistakes become a `RequestError` of one line. ``--help`` prints and exits."""
    import tyro

    errors = io.StringIO()
    keywords: dict[str, Any] = {} if default is None else {"default": default}
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(kind, args=list(arguments), prog=program, description=description, **keywords)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise RequestError(_one_line(errors.getvalue(), program)) from None


def _one_line(box: str, program: str) -> str:
    """The message inside the box that tyro draws, and its suggestion if it has one."""
    lines = [line.strip("│ ") for line in box.splitlines() if line.startswith("│")]
    if not lines:
        # where the output is not UTF-8 the box is a title, a rule, and text without borders
        lines = [line.strip() for line in box.splitlines() if line.strip()][2:]
    rules = [i for i, line in enumerate(lines) if line and set(line) <= {"─", "-"}] + [len(lines)]
    message = " ".join(lines[: rules[0]]).rstrip(".")
    for half in ("options", "config"):
        message = message.removeprefix(f"Error parsing {half}: ")
    rest = lines[rules[0] + 1 : rules[1]] if len(rules) > 1 else []
    if rest and rest[0].startswith("Perhaps you meant"):
        message += f" (perhaps you meant {next((line for line in rest if line.startswith('--')), '')})"
    return f"{message}; see {program} --help"
