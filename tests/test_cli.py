"""The command line: what it prints and writes, and that every mistake is one line and nothing else."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxgan import recipes
from jaxgan.training.checkpoint import Checkpoints
from tests.commands import TINY, Called, call, environment, files, finish, start, strict_json, timeless


def trained(folder: Path, recipe: str, *more: str) -> Path:
    called = call("train", recipe, *TINY[recipe], "--steps", 6, "--log-every", 2, "--outdir", folder, *more)
    assert called.status == 0, called.err
    return Path(called.out.strip())


@pytest.fixture(scope="session")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("ring"), "ring", "--save-every", "3", "--sample-every", "3")


@pytest.fixture(scope="session")
def dcgan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("dcgan"), "dcgan", "--save-every", "4")


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DCGAN that is told no class."""
    return trained(tmp_path_factory.mktemp("plain"), "dcgan", "--conditional", "no")


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("classifier"), "classifier")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def assert_mistake(called: Called, *fragments: str, status: int = 2) -> None:
    lines = called.err.splitlines()
    assert (called.status, called.out, len(lines)) == (status, "", 1), called
    assert lines[0].startswith(("jaxgan: ", "usage: jaxgan ")) and len(lines[0]) > len("jaxgan: ") + 10
    for fragment in fragments:
        assert fragment in lines[0], called.err


def make_material(folder: Path) -> None:
    """Things that requests may wrongly name."""
    random = np.random.default_rng(0)
    np.savez(folder / "keys.npz", images=np.zeros((4, 8, 8), np.uint8))
    np.savez(folder / "odd.npz", image=random.integers(0, 256, (40, 15, 15), np.uint8))
    np.savez(folder / "unlabelled.npz", image=random.integers(0, 256, (40, 8, 8), np.uint8))
    (folder / "empty").mkdir()
    (folder / "broken").mkdir()
    (folder / "broken" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n no more")
    (folder / "file").write_text("a regular file")


MISTAKES: dict[str, tuple[str, tuple[str, ...]]] = {
    "unknown command": ("bogus", ("'bogus'", "train, resume", "jaxgan --help")),
    "no recipe": ("train", ("RECIPE", "dcgan")),
    "recipe last": ("train --steps 5 ring", ("recipe comes first",)),
    "unknown recipe": ("train nope", ("'nope'", "gan, dcgan, cgan")),
    "unknown preset": ("train ring --preset nope", ("'nope'", "cpu")),
    "preset without value": ("train ring --preset", ("--preset needs a value",)),
    "unknown flag": ("train ring --stepz 5", ("--stepz", "perhaps you meant --steps")),
    "excess argument": ("train ring more", ("more",)),
    "wrong type": ("train ring --steps abc", ("--steps", "'abc'")),
    "no value": ("train ring --steps", ("--steps",)),
    "bad choice": ("train ring --loss nope", ("--loss", "'nope'", "hinge")),
    "negative steps": ("train ring --steps -5", ("--steps is at least 1, got -5",)),
    "negative interval": ("train ring --log-every -1", ("--log-every is at least 0, got -1",)),
    "negative seed": ("train ring --seed -1", ("--seed lies in 0..4294967295",)),
    "one sample": ("train ring --evaluate-samples 1", ("--evaluate-samples is at least 2",)),
    "no width": ("train ring --generator-width 0", ("--generator-width is at least 1, got 0",)),
    "no latent": ("train dcgan --latent 0", ("--latent is at least 1, got 0",)),
    "no classifier": ("train classifier --width 0", ("--width is at least 1, got 0",)),
    "not a number": ("train ring --r1-weight nan", ("--r1-weight is at least 0, got nan",)),
    "average of more than all": ("train ring --ema-decay 2", ("--ema-decay lies in [0, 1), got 2.0",)),
    "too deep": ("train dcgan --depth 9", ("depth 9",)),
    "penalty on batch normalization": ("train dcgan --discriminator-normalization batch", ("batch normalization",)),
    "data that nobody knows": ("train dcgan --data mnisst", ("'mnisst'", "mnist")),
    "data of another kind": ("train dcgan --data ring", ("this recipe learns images",)),
    "data of another kind still": ("train ring --data digits", ("ring learns the points",)),
    "a classifier without classes": ("train classifier --data npz:unlabelled.npz", ("at least 2 classes",)),
    "empty folder": ("train dcgan --data folder:empty", ("no images in empty",)),
    "folder that is not there": ("train dcgan --data folder:nothere", ("no folder nothere",)),
    "broken image": ("train dcgan --data folder:broken", ("broken/a.png", "not a readable image")),
    "archive without images": ("train dcgan --data npz:keys.npz", ("no 'image'", "'images'")),
    "odd sides": ("train dcgan --data npz:odd.npz", ("even sides", "15x15")),
    "too large a batch": ("train dcgan --batch 3000000 --features random-conv", ("3000000",)),
    "unknown feature net": ("train dcgan --features nope", ("--features nope", "random-conv")),
    "features of labels that are not there": (
        "train dcgan --data npz:unlabelled.npz --features classifier",
        ("--features classifier needs labels",),
    ),
    "outdir below a file": ("train ring --outdir file/runs", ("--outdir file/runs",)),
    "name of two folders": ("train ring --name a/b", ("--name", "'a/b'")),
    "devices that are not there": ("train ring --devices 99", ("--devices 99", "1 to ")),
    "no devices": ("train ring --devices 0", ("--devices 0",)),
    "devices that do not divide the batch": ("train ring --devices 2 --batch 7", ("does not divide the batch of 7",)),
    "devices of a dry run": ("train ring --devices 99 --dry-run", ("--devices 99",)),
    "start from nothing": ("train ring --resume-from nothere", ("nothere does not exist",)),
    "start from other shapes": ("train ring --resume-from {ring} --generator-width 9", ("other shapes",)),
    "start from another system": ("train ring --resume-from {dcgan}", ("other shapes",)),
    "resume nothing": ("resume", ("run",)),
    "resume what is not there": ("resume nothere", ("nothere does not exist",)),
    "resume no run": ("resume empty", ("empty is not a run",)),
    "resume with another flag": ("resume {ring} --width 3", ("--width",)),
    "resume backwards": ("resume {ring} --steps 2", ("at step 6 already",)),
    "sample nothing": ("sample", ("run",)),
    "sample no run": ("sample empty", ("empty is not a run",)),
    "sample a classifier": ("sample {classifier}", ("which generates nothing",)),
    "class of an unconditional system": ("sample {ring} --class 3", ("unconditional",)),
    "checkpoint of another step": ("sample {ring} --checkpoint 5", ("no checkpoint 5", "[3, 6]")),
    "checkpoint of no step": ("sample {ring} --checkpoint abc", ("no checkpoint abc",)),
    "no samples": ("sample {ring} --n 0", ("--n is at least 1",)),
    "sample of a huge seed": ("sample {ring} --seed 99999999999999999999", ("--seed lies in",)),
    "unknown picture format": ("sample {ring} --out a.jpg", ("a.jpg", ".png")),
    "samples below a file": ("sample {ring} --out file/a.png", ("--out file/a.png",)),
    "points as a folder": ("sample {ring} --out folder", ("points", ".npz")),
    "interpolate no rows": ("interpolate {ring} --rows 0", ("--rows",)),
    "interpolate a classifier": ("interpolate {classifier}", ("which generates nothing",)),
    "interpolation of a negative seed": ("interpolate {ring} --seed -1", ("--seed lies in",)),
    "interpolation below a file": ("interpolate {ring} --out file/a", ("--out file/a.png",)),
    "interpolation of no class": ("interpolate {ring} --class 3", ("unconditional",)),
    "interpolation of another class": ("interpolate {dcgan} --class 10", ("class 10 does not exist", "0..9")),
    "interpolation in no space": ("interpolate {dcgan} --space w", ("no second latent space",)),
    "bad path": ("interpolate {ring} --path round", ("round", "spherical")),
    "arithmetic of nothing": ("arithmetic {dcgan}", ("--plus",)),
    "arithmetic of an unknown attribute": ("arithmetic {plain} --plus round", ("'round'", "thick", "CLASS:ATTRIBUTE")),
    "arithmetic of an unknown class": ("arithmetic {plain} --plus 11:thick", ("no class '11'", "0, 1, 2")),
    "arithmetic that cancels": ("arithmetic {plain} --plus thick --minus thick", ("nothing is asked for",)),
    "arithmetic of two ends": ("arithmetic {plain} --plus thick thin", ("thick and thin at once",)),
    "arithmetic of the class that is told": ("arithmetic {dcgan} --plus 3:thick", ("is told its class", "--class K")),
    "arithmetic without a classifier": ("arithmetic {plain} --plus 3 --n 60", ("--features classifier",)),
    "arithmetic of a class that is not told": ("arithmetic {plain} --plus thick --class 3", ("unconditional",)),
    "arithmetic of points": ("arithmetic {ring} --plus thick", ("makes points",)),
    "arithmetic of few samples": ("arithmetic {dcgan} --plus thick --n 3", ("--n is at least 50",)),
    "arithmetic below a file": ("arithmetic {dcgan} --plus thick --out file/a", ("--out file/a.png",)),
    "directions of no method": ("directions {dcgan} --method guess", ("guess", "factorisation")),
    "directions by no score": ("directions {dcgan} --method supervised", ("--score",)),
    "directions by an unknown score": (
        "directions {dcgan} --method supervised --score round --n 60",
        ("no score 'round'", "slant"),
    ),
    "directions by a score that is not used": ("directions {dcgan} --score slant", ("--method supervised",)),
    "directions of too many": ("directions {dcgan} --count 9 --n 60", ("--count", "[1, 8]")),
    "directions in no space": ("directions {dcgan} --space w", ("no second latent space", "there is z")),
    "directions of points": ("directions {ring}", ("makes points",)),
    "directions of a negative strength": ("directions {dcgan} --strength -1", ("--strength is above 0",)),
    "directions of a class too high": ("directions {dcgan} --class 10 --n 60", ("classes are 0..9",)),
    "invert nothing": ("invert {dcgan}", ("IMAGE ...", "test:INDEX")),
    "invert what is not there": ("invert {dcgan} nothere.png", ("nothere.png is no file",)),
    "invert an empty folder": ("invert {dcgan} empty", ("empty holds no pictures",)),
    "invert a broken picture": ("invert {dcgan} broken", ("broken/a.png", "broken image")),
    "invert a text": ("invert {dcgan} file", ("file is a broken image",)),
    "invert beyond the data": ("invert {dcgan} test:300", ("digits has 0..299",)),
    "invert as no class": ("invert {dcgan} test:0 --class 10", ("--class 10", "0..9")),
    "invert as a class that is not told": ("invert {plain} test:0 --class 1", ("told none",)),
    "invert without restarts": ("invert {dcgan} test:0 --restarts 0", ("at least 1, got 500 and 0",)),
    "invert into points": ("invert {ring} test:0", ("makes points",)),
    "neighbours of points": ("neighbours {ring}", ("makes points",)),
    "neighbours of nobody": ("neighbours {dcgan} --n 0", ("--n is at least 1",)),
    "neighbours of a classifier": ("neighbours {classifier}", ("which generates nothing",)),
    "evaluate one sample": ("evaluate {ring} --n 1", ("--n is at least 2",)),
    "evaluate by no metric": ("evaluate {dcgan} --metrics frechet,fid", ("no such metric", "frechet_infinity")),
    "evaluate points by images": ("evaluate {ring} --metrics frechet", ("are for images",)),
    "evaluate a folder alone": ("evaluate {dcgan}/samples", ("say with --reference",)),
    "evaluate nothing in a folder": ("evaluate {dcgan} --reference {ring}/samples/none", ("unknown data set",)),
    "evaluate by points made": ("evaluate {dcgan} --reference {ring}", ("makes a set of points",)),
    "evaluate a checkpoint of images": (
        "evaluate {dcgan}/samples --reference digits --checkpoint best",
        ("are for runs",),
    ),
    "evaluate another size": (
        "evaluate {dcgan}/samples --reference digits --features random-conv",
        ("only Inception and DINOv2 take any size",),
    ),
    "evaluate against points": ("evaluate {dcgan} --reference ring", ("a set of points",)),
    "evaluate classes without": ("evaluate {dcgan} --metrics classes", ("names classes",)),
    "evaluate no resamplings": ("evaluate {dcgan} --resamplings 0", ("--resamplings is at least 1",)),
    "evaluate no weights": ("evaluate {dcgan} --features /nowhere/weights.pth", ("/nowhere/weights.pth",)),
    "evaluate with no net": ("evaluate {dcgan} --features nope", ("--features nope",)),
    "evaluate with a ring": ("evaluate {dcgan} --features {ring}", ("a run of ring, not of classifier",)),
    "spectrum of nothing": ("spectrum", ("run",)),
    "spectrum of no run": ("spectrum empty", ("empty is not a run",)),
    "spectrum of no values": ("spectrum {ring} --count 0", ("--count is at least 1",)),
    "spectrum of one batch": ("spectrum {ring} --batches 1", ("--batches at least 2",)),
    "spectrum of another step": ("spectrum {ring} --checkpoint 5", ("no checkpoint 5", "[3, 6]")),
    "spectrum of a member": ("spectrum {ring} --member 1", ("it has no member 1",)),
    "spectrum below a file": ("spectrum {ring} --out file/a.png", ("--out file/a.png",)),
    "spectrum as another picture": ("spectrum {ring} --out a.jpg", ("a.jpg", ".png")),
    "report on nothing": ("report", ("report on what?",)),
    "report on no run": ("report empty", ("empty is not a run directory",)),
    "comparison below a file": ("report {ring} {dcgan} --out file/a.html", ("--out file/a.html",)),
    "list of something": ("list --more", ("usage: jaxgan list [--json]",)),
    "prepare nothing": ("data prepare", ("prepare what?", "digits")),
    "prepare the unknown": ("data prepare nope", ("'nope'",)),
    "data of no action": ("data fetch", ("fetch",)),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name: str, here: Path, ring: Path, dcgan: Path, plain: Path, classifier: Path) -> None:
    request, fragments = MISTAKES[name]
    make_material(here)
    before = [files(folder) for folder in (here, ring, dcgan, plain, classifier)]
    runs = {"ring": ring, "dcgan": dcgan, "plain": plain, "classifier": classifier}
    assert_mistake(call(*request.format(**runs).split()), *fragments)
    assert [files(folder) for folder in (here, ring, dcgan, plain, classifier)] == before


def test_mistakes_in_a_process_of_their_own(here: Path) -> None:
    # here tyro draws its boxes for a terminal, and without UTF-8
    for encoding in ("utf-8", "ascii"):
        process = start("train", "ring", "--stepz", 5, cwd=here, PYTHONIOENCODING=encoding)
        assert_mistake(finish(process), "--stepz", "perhaps you meant --steps")
    # nothing answers at that address, and nobody waits for it
    offline = start("train", "dcgan", "--data", "mnist", cwd=here, JAXGAN_DATA_DIR=str(here / "none"), no_proxy="*")
    assert_mistake(finish(offline), "mnist is not prepared", "jaxgan data prepare mnist --files")
    assert not files(here)


def test_an_existing_name(here: Path) -> None:
    (here / "runs" / "mine").mkdir(parents=True)
    assert_mistake(call("train", "ring", *TINY["ring"], "--name", "mine"), "runs/mine exists already", "--name")
    assert files(here) == {"runs", "runs/mine"}


def changed(content: dict, *path: str, to: object) -> dict:
    content = json.loads(json.dumps(content))
    inner = content
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = to
    return content


@pytest.mark.parametrize(
    ("damage", "fragment"),
    {
        "another version": (lambda c: changed(c, "version", to="7.0.0"), "made by jaxgan 7.0.0"),
        "no version": (lambda c: {k: v for k, v in c.items() if k != "version"}, "damaged"),
        "a list": (lambda c: [c], "damaged"),
        "no config": (lambda c: {k: v for k, v in c.items() if k != "config"}, "damaged"),
        "config of nothing": (lambda c: changed(c, "config", to=None), "damaged"),
        "unknown recipe": (lambda c: changed(c, "recipe", to="nope"), "'nope'"),
        "recipe of no name": (lambda c: changed(c, "recipe", to=[1]), "cannot be used"),
        "unknown field": (lambda c: changed(c, "config", "widht", to=1), "widht"),
        "wrong type": (lambda c: changed(c, "config", "generator_width", to="wide"), "generator_width"),
        "wrong choice": (lambda c: changed(c, "config", "rules", "loss", to="nope"), "nope"),
        "wrong value": (lambda c: changed(c, "options", "steps", to=-3), "--steps is at least 1"),
        "data of no kind": (lambda c: changed(c, "data", to={}), "damaged"),
        "data that is not there": (lambda c: changed(c, "data", "name", to="ring9"), "damaged"),
    }.values(),
)
def test_a_damaged_description(damage: Callable, fragment: str, here: Path, ring: Path) -> None:
    run = Path(shutil.copytree(ring, here / "run"))
    content = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(damage(content)))
    before = files(run)
    for command in ("sample", "resume", "evaluate"):
        assert_mistake(call(command, run), "run", fragment)
    assert files(run) == before


def test_descriptions_cut_short_or_overwritten(here: Path, ring: Path) -> None:
    run = Path(shutil.copytree(ring, here / "run"))
    text = (run / "config.json").read_bytes()
    for content in (b"", text[: len(text) // 2], bytes([200, 255, 0, 3])):
        (run / "config.json").write_bytes(content)
        assert_mistake(call("sample", run), "config.json is damaged")


def test_a_run_without_checkpoints(here: Path, ring: Path) -> None:
    run = Path(shutil.copytree(ring, here / "run"))
    shutil.rmtree(run / "checkpoints")
    assert_mistake(call("sample", run), "has no checkpoint yet")
    called = call("resume", run)
    assert called.status == 0 and "begins anew" in called.err
    assert timeless(run) == timeless(ring)


def test_a_damaged_checkpoint_is_said(here: Path, ring: Path) -> None:
    run = Path(shutil.copytree(ring, here / "run"))
    data = max((run / "checkpoints" / "00000006").rglob("*"), key=lambda p: p.stat().st_size if p.is_file() else 0)
    data.write_bytes(data.read_bytes()[:-1] + b"\x00")
    called = call("sample", run, "--out", "a.npz")
    assert called.status == 0
    assert "checkpoint 00000006 is damaged" in called.err and "falling back" in called.err
    shutil.rmtree(run / "checkpoints" / "00000003")
    assert_mistake(call("sample", run, "--checkpoint", 6), "checkpoint 6", "is damaged", status=1)


def test_train_prints_the_folder_and_nothing_else(ring: Path, here: Path) -> None:
    called = call("train", "ring", *TINY["ring"], "--steps", 6, "--log-every", 2)
    assert called.out == "runs/00000-ring-ring8-seed0\n" and called.status == 0
    assert "step 6/6" in called.err and "modes/wasserstein" in called.err
    assert {p.name for p in Path(called.out.strip()).iterdir()} == {
        "config.json", "manifest.json", "metrics.jsonl", "tensorboard", "samples", "reals.png", "checkpoints",
        "report.html",
    }  # fmt: skip
    assert "--steps 6" in json.loads(Path(called.out.strip(), "manifest.json").read_text())["command"]
    assert call("train", "ring", *TINY["ring"], "--steps", 2).out == "runs/00001-ring-ring8-seed0\n"
    # the loop's stops do not matter: with and without checkpoints and samples on the way
    assert timeless(Path("runs/00000-ring-ring8-seed0")) == timeless(ring)


def test_every_row_is_standard_json(ring: Path) -> None:
    rows = [strict_json(line) for line in (ring / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4, 6, 6]
    # an untrained ring has no sample of high quality, and so an infinite divergence
    assert rows[-1]["evaluation"] == "modes" and rows[-1]["reverse_kl"] is None


def test_train_in_a_process_of_its_own(here: Path, ring: Path) -> None:
    called = finish(start("train", "ring", *TINY["ring"], "--steps", 6, "--log-every", 2, cwd=here))
    assert called.status == 0 and called.out == "runs/00000-ring-ring8-seed0\n"
    assert "Traceback" not in called.err and "Warning" not in called.err
    assert timeless(here / "runs" / "00000-ring-ring8-seed0") == timeless(ring)


def test_dry_run_writes_nothing(here: Path) -> None:
    for recipe in ("ring", "classifier"):
        called = call("train", recipe, *TINY[recipe], "--dry-run")
        assert called.status == 0 and called.err == ""
        assert "parameters" in called.out and "state: " in called.out and "--steps " in called.out
    assert not files(here)
    # 2 -> 8 -> 8 -> 2 with biases
    assert "generator: 114 parameters" in call("train", "ring", *TINY["ring"], "--dry-run").out


def test_help_and_list_without_jax() -> None:
    check = (
        "import contextlib, io, sys\n"
        "from jaxgan import cli\n"
        "for arguments in (['--help'], [], ['--version'], ['list'], ['list', '--json'], ['train', '--help']):\n"
        "    with contextlib.redirect_stdout(io.StringIO()) as out:\n"
        "        try:\n"
        "            cli.main(arguments)\n"
        "        except SystemExit as stop:\n"
        "            assert stop.code == 0, arguments\n"
        "    assert out.getvalue(), arguments\n"
        "heavy = {'jax', 'numpy', 'flax', 'optax', 'orbax', 'tyro', 'tensorflow_datasets', 'rich', 'PIL'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, env=environment())
    assert done.stdout == "[]\n"


def test_json_output(ring: Path, dcgan: Path) -> None:
    assert [row["name"] for row in strict_json(call("list", "--json").out)] == list(recipes.INDEX)
    data = strict_json(call("data", "--json").out)
    assert {"digits", "mnist"} <= {row["name"] for row in data["known"]}
    assert data["folder"] == os.environ["JAXGAN_DATA_DIR"] and data["prepared"][0]["name"] == "digits"
    summaries = strict_json(call("report", ring, dcgan, "--json").out)
    assert [row["recipe"] for row in summaries] == ["ring", "dcgan"] and summaries[0]["step"] == 6
    result = strict_json(call("evaluate", ring, "--json").out)
    assert result["step"] == 6 and result["modes"]["n_fake"] == 50
    assert strict_json(call("evaluate", ring, "--json", "--n", 20, "--checkpoint", 3).out)["modes"]["n_fake"] == 20
    # with another seed other samples, with the same one the same
    assert strict_json(call("evaluate", ring, "--json").out) == result
    assert strict_json(call("evaluate", ring, "--json", "--seed", 1).out)["modes"] != result["modes"]


def test_evaluate_repeats_what_training_measured(dcgan: Path) -> None:
    result = strict_json(call("evaluate", dcgan, "--json").out)["images"]
    logged = timeless(dcgan)[-1]
    assert {name: result[name] for name in ("features_hash", "reference_hash", "n_real", "n_fake")} == {
        name: logged[name] for name in ("features_hash", "reference_hash", "n_real", "n_fake")
    }
    shown = call("evaluate", dcgan, "--n", 40)
    assert shown.status == 0 and shown.err == ""
    assert ["n_fake", "40"] in [line.split() for line in shown.out.splitlines()]


def test_the_end_of_a_training_is_measured_by_the_full_protocol(dcgan: Path) -> None:
    rows = [strict_json(line) for line in (dcgan / "evaluations.jsonl").read_text().splitlines()]
    assert [row["checkpoint"] for row in rows] == ["final", "best"] and rows[0]["step"] == 6
    expected = {"frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage", "authenticity"}
    said = {"n_real", "n_fake", "split", "features", "features_hash", "resizer", "reference_hash", "weights"}
    for row in rows:
        assert expected | said <= set(row) and row["split"] == "train" and row["n_real"] == 1497
    again = strict_json(call("evaluate", dcgan, "--json").out)
    assert again["images"]["precision"] == rows[0]["precision"] and again["best"]["step"] == rows[1]["step"]
    page = (dcgan / "report.html").read_text()
    assert "Evaluation at the end" in page and "FD(random-conv-0)" in page and "nearest training images" in page
    assert (dcgan / "neighbours.png").is_file() and not (dcgan / "classes.png").exists()


def test_images_of_anybody_are_measured(dcgan: Path, tmp_path: Path) -> None:
    archive, folder = tmp_path / "fakes.npz", tmp_path / "fakes"
    for out in (archive, folder):
        assert call("sample", dcgan, "--n", 60, "--out", out).status == 0
    flags = ("--reference", "digits", "--features", "random-conv", "--json", "--metrics", "frechet,prdc")
    rows = [strict_json(call("evaluate", images, *flags).out) for images in (archive, folder)]
    # a PNG has the 256 levels that are measured in either case
    assert rows[0]["frechet_distance"] == rows[1]["frechet_distance"] > 0 and rows[0]["n_fake"] == 60
    assert rows[0]["recall"] == rows[1]["recall"] and "kernel_distance" not in rows[0]
    test = strict_json(call("evaluate", archive, *flags, "--split", "test").out)
    assert test["n_real"] == 300 and test["reference_hash"] != rows[0]["reference_hash"]
    copies = strict_json(call("evaluate", archive, *flags[2:], "--reference", archive).out)
    assert copies["frechet_distance"] < 1e-6 and copies["precision"] == copies["recall"] == 1.0
    shown = call("evaluate", dcgan, "--n", 40, "--resamplings", 2, "--metrics", "frechet", "--features", "pixels").out
    assert "FD(pixels)" in shown and "not over seeds" in shown and "best, step" in shown


def test_a_run_that_cannot_be_measured_has_its_report(here: Path) -> None:
    called = call("train", "dcgan", *TINY["dcgan"], "--steps", 2, "--evaluate-samples", 3, "--name", "few")
    assert called.status == 0 and "not measured at the end: " in called.err
    assert not Path("runs/few/evaluations.jsonl").exists() and Path("runs/few/report.html").exists()


def test_unlabelled_pictures_have_no_sheet_of_classes(here: Path, classifier: Path) -> None:
    np.savez("unlabelled.npz", image=np.random.default_rng(0).integers(0, 256, (1497, 8, 8), np.uint8))
    flags = ("--steps", 2, "--data", "npz:unlabelled.npz", "--name", "plain")
    called = call("train", "dcgan", *TINY["dcgan"], *flags, "--features", classifier)
    assert called.status == 0 and Path("runs/plain/neighbours.png").exists()
    assert not Path("runs/plain/classes.png").exists() and Path("runs/plain/evaluations.jsonl").exists()
    # a longer run has no end that was measured, until it ends
    ended = Path("runs/plain/evaluations.jsonl").read_text()
    assert call("resume", "runs/plain", "--steps", 3).status == 0
    rows = [strict_json(line) for line in Path("runs/plain/evaluations.jsonl").read_text().splitlines()]
    assert rows[0]["step"] == 3 and ended != Path("runs/plain/evaluations.jsonl").read_text()


def test_the_best_of_a_population_is_measured_too(here: Path) -> None:
    flags = ("--steps", 4, "--save-every", 2, "--evaluate-every", 2, "--seeds", 2, "--name", "two")
    assert call("train", "dcgan", *TINY["dcgan"], *flags).status == 0
    rows = [strict_json(line) for line in Path("runs/two/evaluations.jsonl").read_text().splitlines()]
    assert [(row["checkpoint"], row["member"]) for row in rows] == [
        ("final", 0),
        ("final", 1),
        ("best", 0),
        ("best", 1),
    ]
    shown = call("evaluate", "runs/two", "--n", 30, "--metrics", "frechet").out
    assert shown.count("±") == 2 and "best, step" in shown and "features: random-conv-0" in shown
    assert_mistake(call("evaluate", "runs/two", "--resamplings", 2, "--metrics", "frechet"), "say which --member")


def test_runs_measured_differently_are_no_comparison(dcgan: Path, tmp_path: Path) -> None:
    def other(name: str, **change: object) -> Path:
        run = tmp_path / name
        shutil.copytree(dcgan, run)
        rows = [strict_json(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]
        (run / "evaluations.jsonl").write_text("".join(json.dumps({**row, **change}) + "\n" for row in rows))
        return run

    out = tmp_path / "page.html"
    assert call("report", dcgan, other("alike", precision=0.123), "--out", out).status == 0
    assert "recall against precision" in out.read_text() and "not comparable" not in out.read_text()
    assert call("report", dcgan, other("unlike", resizer="clean"), "--out", out).status == 0
    assert "differ in resizer: none and clean" in out.read_text()
    assert "recall against precision" not in out.read_text()


def test_a_classifier_run_as_feature_net(dcgan: Path, classifier: Path) -> None:
    result = strict_json(call("evaluate", dcgan, "--json", "--features", classifier).out)["images"]
    assert result["features"] == "classifier-digits" and "recognised" in result


def test_a_classifier_that_went_on_learning_is_another_feature_net(here: Path, dcgan: Path) -> None:
    run = trained(here, "classifier", "--name", "judge")
    flags = ("--json", "--metrics", "frechet", "--checkpoint", "final", "--features", "judge")
    before = strict_json(call("evaluate", dcgan, *flags).out)["images"]
    assert call("resume", run, "--steps", 9).status == 0
    after = strict_json(call("evaluate", dcgan, *flags).out)["images"]
    assert before["features_hash"] != after["features_hash"]
    assert before["frechet_distance"] != after["frechet_distance"]


def test_an_interruption_after_the_training_says_that_it_is_done(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("jaxgan.run.evaluate", interrupted)
    called = call("train", "dcgan", *TINY["dcgan"], "--steps", 2, "--name", "done")
    assert called.status == 0 and "the training is done and saved: jaxgan evaluate runs/done" in called.err
    assert Path("runs/done/report.html").exists() and not Path("runs/done/evaluations.jsonl").exists()


def test_data_changed_since(here: Path) -> None:
    random = np.random.default_rng(0)
    # as many images as there are digits: the same programs
    np.savez("set.npz", image=random.integers(0, 256, (1497, 8, 8), np.uint8))
    run = call("train", "dcgan", *TINY["dcgan"], "--steps", 2, "--data", "npz:set.npz").out.strip()
    assert call("resume", run).status == 0
    np.savez("set.npz", image=random.integers(0, 256, (1497, 8, 8), np.uint8))
    for command in ("resume", "evaluate"):
        assert_mistake(call(command, run), "have changed since: set was")
    os.remove("set.npz")
    assert_mistake(call("resume", run), "no file set.npz")
    # what was trained is used without its data
    assert call("sample", run, "--out", "a.npz").status == 0


def test_a_run_that_another_process_trains(here: Path, ring: Path) -> None:
    run = Path(shutil.copytree(ring, here / "run"))
    holder = (
        "import fcntl, os, sys\n"
        "handle = os.open(sys.argv[1], os.O_RDONLY)\n"
        "fcntl.flock(handle, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        content = (run / "config.json").read_bytes()
        assert_mistake(call("resume", run, "--steps", 9), "is being trained by another process")
        assert (run / "config.json").read_bytes() == content
        process.kill()
    # the lock goes with the process, however it ends
    assert call("resume", run).status == 0


def test_resuming_a_finished_run_changes_nothing(here: Path, ring: Path) -> None:
    run = Path(shutil.copytree(ring, here / "run"))

    def content() -> dict[str, bytes]:
        paths = (run / name for name in files(run))
        return {str(p): p.read_bytes() for p in paths if p.is_file() and "tensorboard" not in str(p)}

    before = content()
    called = call("resume", run)
    assert called.status == 0 and called.out == f"{run}\n"
    after = content()
    assert before.keys() == after.keys()
    # the page says when it was made
    assert [name for name in before if before[name] != after[name]] in ([], [str(run / "report.html")])


def test_resuming_to_another_length(here: Path, ring: Path) -> None:
    run = Path(shutil.copytree(ring, here / "run"))
    assert call("resume", run, "--steps", 10).status == 0
    assert json.loads((run / "config.json").read_text())["options"]["steps"] == 10
    rows = timeless(run)
    assert [row["step"] for row in rows if "evaluation" not in row] == [2, 4, 6, 8, 10]
    assert rows[:4] == timeless(ring)
    long = call("train", "ring", *TINY["ring"], "--steps", 10, "--log-every", 2).out.strip()
    one, other = (Checkpoints(Path(r) / "checkpoints").restore_arrays() for r in (run, long))
    assert one[0] == other[0] == 10
    for name, array in one[1].items():
        np.testing.assert_array_equal(array, other[1][name], err_msg=name)


def test_starting_from_trained_parameters(here: Path, ring: Path) -> None:
    still = ("--generator-learning-rate", 0, "--discriminator-learning-rate", 0)
    run = call("train", "ring", *TINY["ring"], "--steps", 1, "--resume-from", ring, *still).out.strip()
    (_, old), (_, new) = (Checkpoints(Path(r) / "checkpoints").restore_arrays() for r in (ring, run))
    names = [name for name in old if name.startswith(("state.params", "state.variables"))]
    assert len(names) >= 8
    for name in names:
        np.testing.assert_array_equal(new[name], old[name], err_msg=name)
    assert int(new["state.step"]) == 1
    # without a learning rate the average stays where it was, too
    np.testing.assert_allclose(
        *(np.concatenate([v.ravel() for n, v in sorted(s.items()) if n.startswith("state.ema")]) for s in (old, new)),
        atol=1e-3,
    )


def test_samples(here: Path, ring: Path, dcgan: Path) -> None:
    def archive(run: Path, *more: object) -> np.ndarray:
        assert call("sample", run, "--out", "a.npz", *more).out == "a.npz\n"
        with np.load("a.npz") as file:
            assert file.files == ["samples"]
            return file["samples"]

    points, images = archive(ring, "--n", 300), archive(dcgan, "--n", 5)
    assert (points.shape, points.dtype) == ((300, 2), np.float32)
    assert (images.shape, images.dtype) == ((5, 8, 8, 1), np.float32) and np.abs(images).max() <= 1
    # a sample depends on its seed and number, not on how many there are
    np.testing.assert_array_equal(archive(ring, "--n", 7), points[:7])
    np.testing.assert_array_equal(archive(ring, "--n", 257)[-1], points[256])
    np.testing.assert_array_equal(archive(dcgan, "--n", 2), images[:2])
    assert not np.array_equal(archive(ring, "--n", 7, "--seed", 1), points[:7])
    assert not np.array_equal(archive(ring, "--n", 7, "--checkpoint", 3), points[:7])
    np.testing.assert_array_equal(archive(ring, "--n", 7, "--checkpoint", 6), points[:7])
    np.testing.assert_array_equal(archive(ring, "--n", 7, "--checkpoint", "best"), points[:7])
    assert np.ptp(archive(ring, "--n", 7, "--truncation", 0), axis=0).max() == 0

    assert call("sample", dcgan, "--n", 9, "--out", "deep/er/sheet.png").out == "deep/er/sheet.png\n"
    sheet = np.asarray(Image.open("deep/er/sheet.png"))
    # 3 x 3 images of 8 pixels, one pixel apart, enlarged 19 times
    assert sheet.shape == (26 * 19, 26 * 19) and sheet.dtype == np.uint8
    assert call("sample", dcgan, "--n", 3, "--out", "folder").status == 0
    assert sorted(p.name for p in Path("folder").iterdir()) == ["000000.png", "000001.png", "000002.png"]
    shown = np.round((images[1, ..., 0] + 1) * 127.5)
    np.testing.assert_array_equal(np.asarray(Image.open("folder/000001.png")), shown)
    default = call("sample", ring, "--n", 3, "--seed", 4).out.strip()
    assert default == str(ring / "sample-seed4-n3.png")
    os.remove(default)


@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_interpolations_begin_and_end_at_samples(path: str, here: Path, dcgan: Path) -> None:
    called = call("interpolate", dcgan, "--path", path, "--rows", 2, "--frames", 5, "--seed", 3, "--out", "way")
    assert called.out == "way.png\nway.gif\n"
    strip = np.asarray(Image.open("way.png"))
    scale = strip.shape[1] // 44
    assert strip.shape == (17 * scale, 44 * scale)
    from jaxgan import load

    run = load(dcgan)
    ends = np.asarray(run.generate(run.state, run.prior(jax.random.key(3), 4, None), 1.0))
    pixels = np.round((ends[..., 0] + 1) * 127.5)
    strip = strip[::scale, ::scale]
    for row in range(2):
        # the compiler may round a batch of another size differently: by one level at most
        np.testing.assert_allclose(strip[9 * row : 9 * row + 8, :8], pixels[row], atol=1)
        np.testing.assert_allclose(strip[9 * row : 9 * row + 8, 36:], pixels[2 + row], atol=1)
    with Image.open("way.gif") as animation:
        assert animation.n_frames == 2 * 5 - 2 or animation.n_frames >= 2  # equal frames are merged


def test_arithmetic_in_latent_space(here: Path, dcgan: Path, plain: Path, classifier: Path) -> None:
    flags = ("--n", 60, "--strengths", 0, 1.5, "--out", "sum")
    called = call("arithmetic", dcgan, "--plus", "thick", "--minus", "thin", "--class", 3, *flags)
    assert called.status == 0 and called.err == "" and called.out.endswith("\nsum.png\n")
    lines = called.out.splitlines()
    # the tenth of 60, twice
    assert lines[0].split() == ["+", "thick", "6", "of", "60", "samples"] and lines[1].startswith("- thin")
    rows = [line.split() for line in lines if line[0].isdigit() or line.startswith("0")]
    assert [row[0] for row in rows] == ["0", "1.5"]
    # where nothing was added yet, both ways are the same samples
    assert rows[0][1] == rows[0][4]
    sheet = np.asarray(Image.open("sum.png"))
    # operands, results, random ones, and a row between; a mean, a gap and six samples
    scale = sheet.shape[1] // (8 * 9 - 1)
    assert sheet.shape == (((2 + 6 + 6 + 2) * 9 - 1) * scale, (8 * 9 - 1) * scale)
    seen = call("arithmetic", plain, "--plus", "thick", *flags, "--features", classifier)
    assert seen.status == 0 and "share thick" in seen.out


@pytest.mark.parametrize("method", ["pca", "factorisation", "supervised"])
def test_directions_in_latent_space(method: str, here: Path, dcgan: Path) -> None:
    asked = ("--score", "slant", "thick") if method == "supervised" else ("--count", 3)
    called = call("directions", dcgan, "--method", method, *asked, "--columns", 5, "--n", 60, "--out", "way")
    assert called.status == 0 and called.err == "" and called.out.endswith("\nway.png\nway.gif\n")
    count = 2 if method == "supervised" else 3
    assert [line[0] for line in called.out.splitlines() if line[:1].isdigit()] == ["1", "2", "3"][:count]
    assert ("mean score" in called.out) == (method == "supervised")
    sheet = np.asarray(Image.open("way.png"))
    scale = sheet.shape[1] // 44
    assert sheet.shape == ((9 * count - 1) * scale, 44 * scale)
    with Image.open("way.gif") as animation:
        assert animation.n_frames >= 2 and animation.size[0] // 35 == animation.size[1] // (9 * count - 1)


def test_inversion_of_own_samples_and_of_test_images(here: Path, dcgan: Path, plain: Path) -> None:
    assert call("sample", plain, "--n", 2, "--out", "own").status == 0
    called = call("invert", plain, "own", "test:7", "--restarts", 3, "--steps", 100, "--out", "back")
    assert called.status == 0 and called.err == "" and called.out.endswith("\nback.png\nback.npz\n")
    names = [line.split()[0] for line in called.out.splitlines()[1:4]]
    assert names == ["own/000000.png", "own/000001.png", "test:7"]
    with np.load("back.npz") as found:
        assert set(found) == {"latent", "image", "reconstruction", "error"}
        latent, error = found["latent"], found["error"]
        assert latent.shape == (3, 8) and found["image"].dtype == found["reconstruction"].dtype == np.uint8
        own = [np.asarray(Image.open(f"own/{i:06d}.png")) for i in range(2)]
        np.testing.assert_array_equal(found["image"][:2, ..., 0], own)
        apart = (found["image"].astype(float) - found["reconstruction"]) / 127.5
        np.testing.assert_allclose(np.square(apart).mean(axis=(1, 2, 3)), error, rtol=0.05, atol=1e-4)
    assert error[:2].max() < error[2]
    scale = np.asarray(Image.open("back.png")).shape[0] // 8
    assert np.asarray(Image.open("back.png")).shape == (8 * scale, 71 * scale)
    # what is told: the label of a test image, or what was asked for
    call("invert", dcgan, "test:7", "--steps", 2, "--out", "back")
    with np.load("back.npz") as found:
        from jaxgan.data.catalogue import load as load_data

        assert found["label"] == load_data("digits").test_label[7]
    call("invert", dcgan, "own", "--class", 4, "--steps", 2, "--out", "back")
    with np.load("back.npz") as found:
        assert found["label"].tolist() == [4, 4]


def test_neighbours(here: Path, dcgan: Path) -> None:
    called = call("neighbours", dcgan, "--out", "near")
    assert called.out == "near.png\n" and called.err == ""
    # the first samples of the run, as they are after its training
    assert Path("near.png").read_bytes() == (dcgan / "neighbours.png").read_bytes()


def test_interpolation_of_points(here: Path, ring: Path) -> None:
    assert call("interpolate", ring, "--out", "way.png").status == 0
    assert np.asarray(Image.open("way.png")).shape == (400, 400, 3)


def test_spectra(here: Path, ring: Path, dcgan: Path, classifier: Path, members: Path) -> None:
    called = call("spectrum", ring, "--count", 2, "--batches", 2, "--out", "a/b.png")
    lines = called.out.splitlines()
    assert called.status == 0 and lines[-1] == "a/b.png"
    said = [line for line in lines if line.startswith("step ")]
    assert [line.split(":")[0] for line in said] == ["step 3", "step 6"]
    assert {line.split(": ")[1] for line in said} <= {"converging", "rotating", "diverging"}
    assert np.asarray(Image.open("a/b.png")).shape[0] > 500
    result = strict_json(Path("a/b.json").read_text())
    assert [row["step"] for row in result["checkpoints"]] == [3, 6] and called.err.count(" products") == 2

    one = strict_json(call("spectrum", ring, "--count", 2, "--batches", 2, "--checkpoint", 6, "--json").out)
    assert one["checkpoints"] == result["checkpoints"][1:] and (ring / "spectrum.png").exists()
    (ring / "spectrum.png").unlink(), (ring / "spectrum.json").unlink()
    few = ("--count", 1, "--batches", 2, "--checkpoint", "final", "--json", "--out", "c.png")
    (row,) = strict_json(call("spectrum", dcgan, *few).out)["checkpoints"]
    assert row["step"] == 6 and row["field_norm"] > 0 and row["eigenvalues"]
    # one player's flow is down a potential: it cannot turn
    (row,) = strict_json(call("spectrum", classifier, *few).out)["checkpoints"]
    assert all(abs(value["imaginary"]) < 1e-3 * abs(value["real"]) for value in row["eigenvalues"])
    one = strict_json(call("spectrum", members, *few, "--member", 3).out)
    assert (
        one["member"] == 3
        and len(one["checkpoints"]) == 1
        and files(here) == {"a", "a/b.png", "a/b.json", "c.png", "c.json"}
    )


def test_the_leading_spectrum_of_a_run_is_that_of_its_matrix(here: Path, ring: Path) -> None:
    """By another route: the averaged Jacobian of the loaded run, built whole."""
    from jaxgan import dynamics, load
    from jaxgan.training.program import DATA

    run = load(ring, 6)
    stage = run.recipe.stages[0]
    matrix = np.zeros(())
    for step in range(6, 9):
        batch = stage.source.batch(dict(stage.source.arrays), jax.random.fold_in(run.state.key, DATA), step)
        matrix = matrix + np.asarray(dynamics.jacobian(stage.game, replace(run.state, step=jnp.int32(step)), batch)) / 3
    exact = np.linalg.eigvals(matrix)
    result = strict_json(call("spectrum", ring, "--batches", 3, "--checkpoint", 6, "--json", "--out", "a.png").out)
    values = [complex(v["real"], v["imaginary"]) for v in result["checkpoints"][0]["eigenvalues"]]
    found = np.array(values)
    scale = np.abs(exact).max()
    assert np.abs(found[:, None] - exact[None, :]).min(axis=1).max() < 1e-3 * scale
    np.testing.assert_allclose(np.abs(found).max(), scale, rtol=1e-3)
    np.testing.assert_allclose(found.real.max(), exact.real.max(), atol=1e-3 * scale)
    np.testing.assert_allclose(found.imag.max(), exact.imag.max(), atol=1e-3 * scale)


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        "--dtype bfloat16 --spectral-norm discriminator --replay 16 --discriminator-steps 2",
        "--dynamics extragradient --generator-normalization batch --discriminator-normalization batch --r1-weight 0",
    ],
)
def test_spectra_of_other_games(flags: str, here: Path) -> None:
    run = trained(here, "ring", *flags.split())
    called = call("spectrum", run, "--count", 2, "--batches", 2, "--json")
    (row,) = strict_json(called.out)["checkpoints"]
    assert called.status == 0 and row["missing"] == 0 and row["eigenvalues"]


def test_reports(here: Path, ring: Path, dcgan: Path) -> None:
    assert call("report", ring).out == f"{ring / 'report.html'}\n"
    assert "<html" in (ring / "report.html").read_text()
    assert call("report", ring, dcgan).out == "comparison.html\n"
    page = Path("comparison.html").read_text()
    assert ring.name in page and dcgan.name in page


def test_data_shows_what_is_prepared(dcgan: Path) -> None:
    shown = call("data").out
    assert "digits 1.0.0: 1,497 train, 300 test" in shown and "fashion_mnist" in shown
    assert call("data", "prepare", "digits").out.strip().endswith("digits/1.0.0")


def test_a_collapse_that_stops_the_run(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jaxgan.recipes.ring.collapse_alarm", lambda rows, **_: "all alike" if len(rows) > 1 else None)
    called = call(
        "train", "ring", *TINY["ring"], "--steps", 6, "--log-every", 2, "--name", "x", "--on-collapse", "stop"
    )
    assert called.status == 3 and called.out == "runs/x\n"
    assert called.err.splitlines()[-1] == "jaxgan: stopped at step 4: all alike"
    assert timeless(Path("runs/x"))[-1] == {"step": 4, "event": "collapse", "message": "all alike"}
    assert Checkpoints(Path("runs/x/checkpoints")).steps() == [4]


def test_numbers_that_are_not_finite(here: Path) -> None:
    wild = ("--generator-learning-rate", 1e30, "--discriminator-learning-rate", 1e30)
    called = call("train", "ring", *TINY["ring"], "--steps", 60, *wild)
    assert called.status == 3 and called.out == "runs/00000-ring-ring8-seed0\n"
    assert called.err.splitlines()[-1] == (
        "jaxgan: stopped at step 1: generator/adversarial was not finite at step 0; no checkpoint was saved before"
    )
    assert_mistake(call("sample", called.out.strip()), "has no checkpoint yet")


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Path:
    varied = ("--vary", "r1_weight=0,1", "--seeds", "2", "--evaluate-every", "3", "--sample-every", "3")
    return trained(tmp_path_factory.mktemp("members"), "ring", *varied, "--name", "many")


def test_a_population_from_the_command_line(members: Path, tmp_path: Path) -> None:
    sheets = {path.name for path in (members / "samples").iterdir()}
    assert sheets == {f"{step:06d}-member{m:02d}.png" for step in (0, 3, 6) for m in range(4)}
    assert {row["member"] for row in timeless(members)} == {0, 1, 2, 3}
    called = call("evaluate", members, "--n", 30, "--json")
    assert [one["seed"] for one in strict_json(called.out)["members"]] == [0, 1, 0, 1]
    table = call("evaluate", members, "--n", 30).out
    assert "r1_weight 0.0" in table and "±" in table
    assert "member: 2" in call("evaluate", members, "--n", 30, "--member", 2).out
    samples = []
    for number in (0, 3):
        out = tmp_path / f"{number}.npz"
        assert call("sample", members, "--member", number, "--n", 8, "--out", out).status == 0
        samples.append(np.load(out)["samples"])
    assert np.abs(samples[0] - samples[1]).max() > 1e-2
    assert call("sample", members, "--n", 8).out.strip() == str(members / "sample-seed0-n8.png")
    assert "member01" in call("interpolate", members, "--member", 1, "--frames", 3).out
    for command in ("sample", "interpolate", "evaluate"):
        assert_mistake(call(command, members, "--member", 4), "has no member 4; there are 0..3")
    assert call("report", members).status == 0 and "report.html" in str(list(members.iterdir()))


def test_the_table_of_a_population(tmp_path: Path) -> None:
    request = ("train", "ring", *TINY["ring"], "--steps", 2, "--outdir", tmp_path)
    called = call(*request, "--vary", "r1_weight=0,1", "--vary=loss=hinge,minimax", "--seeds", 2)
    assert called.status == 0 and called.out.strip().endswith("00000-ring-ring8-seed0-1")
    lines = [line for line in called.err.splitlines() if line.startswith("r1_weight 1.0, loss minimax")]
    assert lines and all(line.split()[4] == "2" for line in lines) and "±" in called.err
    dry = call(*request, "--vary", "loss=hinge,minimax", "--dry-run")
    assert dry.status == 0 and dry.out.count("1 members in one program") == 2


POPULATION_MISTAKES = {
    "nothing to vary": ("--vary r1_weight", ("--vary takes NAME=VALUE",)),
    "unknown setting": ("--vary r1_wieght=1,2", ("perhaps you meant r1_weight",)),
    "an option": ("--vary steps=1,2", ("--vary steps",)),
    "no number": ("--vary r1_weight=a,b", ("'a' is not a number",)),
    "a value that is refused": ("--vary r1_weight=0,-1", ("--r1-weight is at least 0, got -1",)),
    "no seeds": ("--seeds 0", ("--seeds is at least 1",)),
    "collapse": ("--seeds 2 --on-collapse rollback", ("--on-collapse rollback",)),
    "too many devices": ("--seeds 2 --devices 99", ("--devices 99",)),
}


@pytest.mark.parametrize("kind", POPULATION_MISTAKES)
def test_mistakes_about_populations(kind: str, here: Path) -> None:
    arguments, fragments = POPULATION_MISTAKES[kind]
    assert_mistake(call("train", "ring", *TINY["ring"], *arguments.split()), *fragments)
    assert not files(here)
