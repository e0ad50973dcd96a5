"""Systems that translate, from the command line: trained, resumed bit for bit, used on files, refused in one line."""

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan.training.checkpoint import Checkpoints
from tests.commands import call

TINY = shlex.split("--generator-width 4 --discriminator-width 4 --batch 4 --features random-conv --evaluate-samples 20")
CYCLE = [*TINY, "--blocks", "1", "--pool", "4", "--task", "sobel", "--save-every", "3", "--log-every", "1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outdir = tmp_path_factory.mktemp("runs")
    done = call("train", "pix2pix", "--steps", 2, "--outdir", outdir, *TINY)
    assert done.status == 0, done.err
    return Path(done.out.strip())


def picture(path: Path, height: int, width: int, mode: str = "L") -> Path:
    random = np.random.default_rng(height)
    shape = (height, width) if mode == "L" else (height, width, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(random.integers(0, 256, shape, np.uint8)).save(path)
    return path


def test_files_and_folders_keep_names_and_sizes(run: Path, tmp_path: Path) -> None:
    one = picture(tmp_path / "shoe.jpg", 35, 51, "RGB")
    picture(tmp_path / "many" / "a.png", 16, 24)
    picture(tmp_path / "many" / "deep" / "b.bmp", 9, 8)
    out = tmp_path / "out"
    done = call("translate", run, one, tmp_path / "many", "--out", out)
    assert done.status == 0, done.err
    sizes = {p.relative_to(out).as_posix(): Image.open(p).size for p in out.rglob("*.png")}
    assert sizes == {"shoe.png": (51, 35), "a.png": (24, 16), "deep/b.png": (8, 9)}
    assert done.out.split() == [*(str(out / n) for n in ("shoe.png", "a.png", "deep/b.png")), str(tmp_path / "out.png")]
    # three groups of two: what was given, in order, beside what was made
    assert Image.open(tmp_path / "out.png").size[0] > 6 * 256


def test_the_translation_is_that_of_the_generator(run: Path, tmp_path: Path) -> None:
    import jax

    import jaxgan
    from jaxgan.arrays import to_float, to_uint8

    file = picture(tmp_path / "p.png", 12, 20)
    assert call("translate", run, file, "--out", tmp_path / "o", "--seed", 3).status == 0
    loaded = jaxgan.load(run)
    source = np.asarray(Image.open(file))[None, ..., None]
    key = jax.random.fold_in(jax.random.key(3), 0)
    made = to_uint8(loaded.recipe.translations["target"].translate(loaded.state, to_float(source), key))
    found = np.asarray(Image.open(tmp_path / "o" / "p.png"))
    assert np.abs(found.astype(int) - np.asarray(made)[0, ..., 0].astype(int)).max() <= 1
    # dropout is the noise: another seed is another picture
    assert call("translate", run, file, "--out", tmp_path / "q", "--seed", 4).status == 0
    assert (found != np.asarray(Image.open(tmp_path / "q" / "p.png"))).any()


def test_prepared_pictures_are_sources_first(run: Path, tmp_path: Path) -> None:
    from jaxgan.data.transformations import TRANSFORMATIONS

    file = picture(tmp_path / "p.png", 16, 16)
    edges = TRANSFORMATIONS["canny"](np.asarray(Image.open(file))[..., None])[..., 0]
    Image.fromarray(edges).save(tmp_path / "edges.png")
    assert call("translate", run, file, "--prepare", "--out", tmp_path / "a").status == 0
    assert call("translate", run, tmp_path / "edges.png", "--out", tmp_path / "b").status == 0
    a, b = (np.asarray(Image.open(tmp_path / place)) for place in ("a/p.png", "b/edges.png"))
    np.testing.assert_array_equal(a, b)


def test_mistakes_are_one_line(run: Path, tmp_path: Path) -> None:
    file, small = picture(tmp_path / "p.png", 12, 12), picture(tmp_path / "s.png", 4, 12)
    (tmp_path / "empty").mkdir()
    same = picture(tmp_path / "other" / "p.png", 12, 12)
    (tmp_path / "text.png").write_text("no picture")
    for arguments, said in (
        (["translate", run], "translate which pictures?"),
        (["translate", run, tmp_path / "nothing.png"], "there is no file or folder"),
        (["translate", run, tmp_path / "empty"], "no pictures in"),
        (["translate", run, file, "--to", "b"], "translates to target"),
        (["translate", run, file, same], "would both become p.png"),
        (["translate", run, small], "at least 8x8"),
        (["translate", run, tmp_path / "text.png"], "is a broken image"),
        (["translate", run, file, "--out", file], "is a folder for pictures"),
        (["sample", run], "use jaxgan translate"),
        (["interpolate", run], "use jaxgan translate"),
        (["train", "pix2pix", "--augmentation", "ada"], "leave --augmentation at none"),
        (["train", "pix2pix", "--replay", "100"], "leave --replay at 0"),
        (["train", "pix2pix", "--packing", "2"], "choose --packing 1"),
        (["train", "pix2pix", "--data", "digits:3+digits:8"], "learns from pairs"),
        (["train", "pix2pix", "--task", "grey"], "grey"),
        (["train", "cyclegan", "--packing", "2"], "would mix them"),
        (["train", "cyclegan", "--replay", "100"], "--pool keeps old fakes"),
        (["train", "cyclegan", "--task", "low_resolution"], "one size"),
        (["train", "stargan", "--data", "china"], "translates between classes, and china has 0: give --attributes"),
        (["train", "stargan", "--attributes", "bald"], "digits has no attributes of its own, and measured are thick"),
        (["train", "stargan", "--attributes", "thick", "slanted-left", "--flip"], "makes of slanted-left its contrary"),
        (["train", "stargan", "--attributes", "thick", "--batch", "1"], "give --batch 2 or more"),
        (["train", "stargan", "--attributes", "thick", "--accumulation", "32"], "give --batch 2 or more"),
        (["train", "stargan", "--attributes", "thick", "--augmentation", "ada"], "choose --loss non_saturating"),
        (["train", "srgan", "--minibatch", "deviation"], "their own layers"),
        (["train", "stargan", "--spectral-norm", "both"], "choose --spectral-norm discriminator"),
        (["train", "cyclegan", "--loss", "relativistic_average"], "would mix them"),
        (["train", "cyclegan", "--feature-matching-weight", "1"], "would mix them"),
        (["train", "cyclegan", "--batch", "64"], "a pool of 50 is less than the 64"),
    ):
        done = call(*arguments)
        assert done.status == 2 and said in done.err, (arguments, done.err)
        assert len(done.err.strip().splitlines()) == 1 and not done.out
    assert not list(tmp_path.glob("translated*"))


def test_cyclegan_resumes_bit_for_bit_with_its_pool(tmp_path: Path) -> None:
    for name in ("whole", "cut"):
        done = call("train", "cyclegan", "--steps", 6, "--outdir", tmp_path, "--name", name, *CYCLE)
        assert done.status == 0, done.err
    # as if it had been interrupted after the checkpoint of step 3
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "00000006")
    done = call("resume", tmp_path / "cut")
    assert done.status == 0, done.err
    one, other = (Checkpoints(tmp_path / name / "checkpoints").restore_arrays(None)[1] for name in ("whole", "cut"))
    assert any("replay" in name for name in one) and set(one) == set(other)
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


def test_the_other_way_is_the_other_net(tmp_path: Path) -> None:
    done = call("train", "cyclegan", "--steps", 2, "--outdir", tmp_path, "--name", "c", *CYCLE)
    assert done.status == 0, done.err
    file = picture(tmp_path / "p.png", 12, 12)
    for to in ("a", "b"):
        assert call("translate", tmp_path / "c", file, "--to", to, "--out", tmp_path / to).status == 0
    assert (np.asarray(Image.open(tmp_path / "a/p.png")) != np.asarray(Image.open(tmp_path / "b/p.png"))).any()
    rows = [json.loads(line) for line in (tmp_path / "c" / "metrics.jsonl").read_text().splitlines()]
    last = [row for row in rows if row.get("evaluation") == "translation"][-1]
    assert {"frechet_distance_ab", "frechet_distance_ba", "cycle_l1", "l1", "sharpness"} <= set(last)
    assert last["frechet_distance"] == pytest.approx((last["frechet_distance_ab"] + last["frechet_distance_ba"]) / 2)


def test_stargan_of_attributes_is_trained_resumed_and_asked_by_name(tmp_path: Path) -> None:
    flags = [*TINY, "--blocks", "1", "--attributes", "thick/thin", "slanted-right", "--save-every", "2"]
    for name in ("whole", "cut"):
        done = call("train", "stargan", "--steps", 4, "--outdir", tmp_path, "--name", name, *flags)
        assert done.status == 0, done.err
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "00000004")
    assert call("resume", tmp_path / "cut").status == 0
    one, other = (Checkpoints(tmp_path / name / "checkpoints").restore_arrays(None)[1] for name in ("whole", "cut"))
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    (measured,) = [row for row in rows if row.get("evaluation") == "translation"]
    assert 0 <= measured["others_kept"] <= 1 and measured["features"] == "measured"
    file, made = picture(tmp_path / "p.png", 20, 13), {}
    for way in ("thin", "not-slanted-right"):
        done = call("translate", tmp_path / "whole", file, "--to", way, "--out", tmp_path / way)
        assert done.status == 0, done.err
        made[way] = np.asarray(Image.open(tmp_path / way / "p.png"))
        assert made[way].shape == (20, 13)
    assert (made["thin"] != made["not-slanted-right"]).any()
    done = call("translate", tmp_path / "whole", file, "--to", "not-thin")
    assert done.status == 2 and "translates to thick, thin, slanted-right, not-slanted-right" in done.err
