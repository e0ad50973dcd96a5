"""Imports point one way, and what must be light is light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import jaxgan

PACKAGE = Path(jaxgan.__file__).parent

LEAVES = (
    "losses",
    "nets",
    "optimizers",
    "memory",
    "augment",
    "latent",
    "directions",
    "sampling",
    "attacks",
    "data",
    "evaluation",
)
ALL_BELOW_RECIPES = (*LEAVES, "arrays", "game", "dynamics", "games", "training", "config")

# part of the library -> the parts it may import besides itself; a name with a dot allows that module alone
ALLOWED: dict[str, tuple[str, ...]] = {
    "arrays": (),
    "config": (),
    **dict.fromkeys(LEAVES, ("arrays",)),
    "nets.adapt": ("arrays", "game"),
    "game": ("arrays",),
    "dynamics": ("arrays", "game"),
    "games": ("arrays", "game", "dynamics", "losses", "memory", "augment"),
    "training": ("arrays", "game", "data.source"),
    "recipes": (*ALL_BELOW_RECIPES, ""),
    "evaluate": (*ALL_BELOW_RECIPES, "recipes", ""),
    "run": (*ALL_BELOW_RECIPES, "recipes", "evaluate", ""),
    "explore": (*ALL_BELOW_RECIPES, "recipes"),
    "spectra": (*ALL_BELOW_RECIPES, "recipes", "run", ""),
    "commands": (*ALL_BELOW_RECIPES, "recipes", "evaluate", "run", "spectra", "explore", ""),
    "cli": ("commands", "config", ""),
    "__main__": ("cli",),
    "": ("run",),
}
"""The package itself, "", holds its version and, when they are called, `load` and `train`."""


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imported(path: Path, everywhere: bool = True) -> Iterator[str]:
    """Full names that a file imports; with `everywhere` also inside functions."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if everywhere else iter(tree.body)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str) -> str | None:
    """The module of the library that an imported name lies in, "" for the package itself."""
    if name.split(".")[0] != "jaxgan":
        return None
    known = {module for module, _ in modules()}
    inner = name.split(".")[1:]
    while ".".join(inner) not in known:
        inner = inner[:-1]
    return ".".join(inner)


def violations(module: str, names: list[str]) -> list[str]:
    part = module.split(".")[0]
    allowed = ALLOWED.get(module, ALLOWED.get(part))
    if allowed is None:
        return [f"{module} has no row in the table of imports"]
    wrong = []
    for name in names:
        target = within(name)
        if target is None or (target.split(".")[0] == part and part):
            continue
        if not any(target == a or (a and target.startswith(f"{a}.")) for a in allowed):
            wrong.append(f"{module} imports {name}")
    return wrong


@pytest.mark.parametrize(("module", "path"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_imports_point_one_way(module, path):
    assert violations(module, list(imported(path))) == []


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("arrays", "jaxgan.game.State"),
        ("losses.adversarial", "jaxgan.game"),
        ("losses.adversarial", "jaxgan.nets.mlp"),
        ("nets.dcgan", "jaxgan.game.Net"),
        ("nets.dcgan", "jaxgan.losses.adversarial.hinge"),
        ("evaluation.report", "jaxgan.data.images"),
        ("game", "jaxgan.losses.adversarial"),
        ("games.two_player", "jaxgan.nets.mlp"),
        ("games.two_player", "jaxgan.training.loop"),
        ("training.loop", "jaxgan.games.two_player"),
        ("training.loop", "jaxgan.data.images"),
        ("training.loop", "jaxgan.config"),
        ("training.loop", "jaxgan"),
        ("recipes.ring", "jaxgan.run.start"),
        ("recipes.ring", "jaxgan.cli"),
        ("run", "jaxgan.cli.main"),
        ("a_new_part", "numpy"),
    ],
)
def test_the_table_would_see_a_wrong_import(module, name):
    assert violations(module, [name])


def test_only_nets_import_flax():
    for module, path in modules():
        flax = [name for name in imported(path) if name.split(".")[0] == "flax"]
        assert not flax or module.startswith("nets."), f"{module} imports {flax}"


def test_heavy_packages_are_imported_where_they_are_used():
    heavy = {
        "tensorflow_datasets",
        "tensorflow",
        "orbax",
        "tyro",
        "matplotlib",
        "grain",
        "tensorboardX",
        "sklearn",
        "rich",
    }
    for module, path in modules():
        assert not heavy & {name.split(".")[0] for name in imported(path, everywhere=False)}, module


def test_nothing_imports_experiments_or_tests():
    for module, path in modules():
        assert not {"experiments", "tests", "notebooks"} & {name.split(".")[0] for name in imported(path)}, module


def python(code: str) -> str:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize("arguments", [None, ["list"], ["--help"], ["list", "--json"]], ids=str)
def test_what_is_light_does_not_import_jax(arguments):
    output = python(f"""
import sys
import jaxgan
if {arguments!r} is not None:
    from jaxgan.cli import main
    try:
        main({arguments!r})
    except SystemExit as exit:
        assert not exit.code, exit.code
heavy = {{"jax", "jaxlib", "flax", "optax", "orbax", "tensorflow", "tensorflow_datasets", "matplotlib"}}
print("heavy:", sorted(heavy & set(sys.modules)))
""")
    assert output.splitlines()[-1] == "heavy: []"
    if arguments:
        assert "dcgan" in output or "usage" in output


def test_the_module_runs_as_the_command_line():
    run = subprocess.run([sys.executable, "-m", "jaxgan", "list"], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0 and "dcgan" in run.stdout and not run.stderr


def test_the_engine_runs_without_data_sets_and_command_line_packages():
    evaluation = [module for module, _ in modules() if module.startswith("evaluation.")]
    parts = [
        "game",
        "games.two_player",
        "training.loop",
        "training.parallel",
        "losses.penalties",
        "nets.dcgan",
        *evaluation,
    ]
    output = python(f"""
import importlib, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow_datasets", "tensorflow", "tyro", "matplotlib"):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
for part in {parts!r}:
    importlib.import_module("jaxgan." + part)
print("imported")
""")
    assert output.strip() == "imported"
