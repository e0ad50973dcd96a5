import struct

import numpy as np
import pytest

from jaxgan.evaluation import report
from jaxgan.evaluation.report import write_report
from tests.evaluation.pages import Page, make_run, png, population


def test_report_of_a_whole_run(tmp_path):
    run = make_run(tmp_path / "00007-dcgan-digits-seed0")
    path = write_report(run)
    assert path == run / "report.html"
    page = Page(path)
    page.loads_nothing()
    for words in (
        "00007-dcgan-digits-seed0",
        'jaxgan train dcgan --data digits --note "<script>" --seed 0',
        "3,000 of 3,000",
        "2 × cpu",
        "step 2,600 · collapse variance fell <b>far</b>",
        "generator/loss is not finite in 1 of 30 rows, first at step 700",
        "last line of metrics.jsonl is cut off",
        "frechet_distance ↓ 25.5 20 1,500",
        "recognised ↑ 0.875 0.875 1,500",
        "kernel_distance ↓ 0.0123 ± 0.0045",
        "n_fake: 1000 · features: classifier-digits · reference_hash: ab12",
        "constant throughout: d/ran = 1",
        "<script>alert('config')</script>",
        "generator_rate 0.0002",
        "fingerprint 9f2c",
        "generator 1,234,567",
        "jax 0.10.2",
    ):
        assert words in page.text, words
    assert "kernel_distance_error" not in page.text
    titles = [attributes["aria-label"] for tag, attributes in page.tags if tag == "svg" and "role" in attributes]
    assert titles[:2] == ["losses", "images/frechet_distance"]
    assert "discriminator/r1" in titles and "d/ran" not in titles
    # No partial file is left beside it.
    assert {entry.name for entry in run.iterdir()} == {
        "config.json", "manifest.json", "metrics.jsonl", "reals.png", "report.html", "samples"
    }  # fmt: skip


def test_report_shows_twelve_grids_the_last_and_the_reals(tmp_path):
    run = make_run(tmp_path / "run")
    images = Page(write_report(run)).images()
    files = [path.read_bytes() for path in sorted((run / "samples").glob("*.png"))]
    assert len(files) == 21 and len(images) == 14
    assert images[0] == files[-1] and images[1] == (run / "reals.png").read_bytes()
    shown = [files.index(image) for image in images[2:]]
    assert shown[0] == 0 and shown[-1] == 20 and shown == sorted(set(shown))
    assert set(np.diff(shown)) <= {1, 2}


def test_small_pictures_are_scaled_as_squares(tmp_path):
    page = Page(write_report(make_run(tmp_path / "run")))
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert all((p["class"], p["width"], p["height"]) == ("pixels", "7", "9") for p in pictures)
    assert "img.pixels { image-rendering: pixelated; }" in page.source


def test_large_pictures_are_shrunk_by_averaging(tmp_path, monkeypatch):
    from matplotlib import image

    run = make_run(tmp_path / "run")
    checks = np.indices((1600, 1200)).sum(axis=0) // 5 % 2 * 200
    (run / "samples" / "003000.png").write_bytes(png(np.repeat(checks[:, :, None], 3, axis=2).astype(np.uint8)))
    monkeypatch.setattr(report, "EMBED_BYTES", 1000)
    images = Page(write_report(run)).images()
    assert struct.unpack(">II", images[0][16:24]) == (1200, 1600)
    assert struct.unpack(">II", images[-1][16:24]) == (400, 533)
    (tmp_path / "small.png").write_bytes(images[-1])
    pixels = image.imread(tmp_path / "small.png")[:, :, :3]
    expected = checks[:1599].reshape(533, 3, 400, 3).mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(pixels, np.repeat(expected[:, :, None], 3, axis=2), atol=1 / 250)


@pytest.mark.parametrize("lost", ["config.json", "manifest.json", "metrics.jsonl", "samples", "reals.png"])
def test_report_without_a_part(tmp_path, lost):
    run = make_run(tmp_path / "run")
    target = run / lost
    if target.is_dir():
        for path in target.iterdir():
            path.unlink()
        target.rmdir()
    else:
        target.unlink()
    page = Page(write_report(run))
    page.loads_nothing()
    if lost.endswith(("json", "jsonl")):
        assert f"{lost} is missing" in page.text


def test_report_of_broken_files(tmp_path):
    run = make_run(tmp_path / "run")
    (run / "config.json").write_text('{"recipe": ')
    (run / "manifest.json").write_text("[1, 2]")
    (run / "metrics.jsonl").write_bytes(
        b'\xff\xfe\n{"step": 1, "a/loss": NaN}\nnull\n{"step": 2, "a/loss": Infinity}\n'
    )
    whole = (run / "samples" / "003000.png").read_bytes()
    (run / "samples" / "003000.png").write_bytes(whole[:-5])
    page = Page(write_report(run))
    page.loads_nothing()
    for words in (
        "config.json cannot be read",
        "manifest.json does not hold",
        "2 lines of",
        "003000.png cannot be read",
    ):
        assert words in page.text, words
    assert "no finite value" in page.text


def test_an_unfinished_run_says_so(tmp_path):
    page = Page(write_report(make_run(tmp_path / "run", steps=9000)))
    assert "the run stands at step 3,000 of 9,000" in page.text


def test_a_population_is_a_line_with_a_band_for_each_value(tmp_path):
    run = population(tmp_path)
    page = Page(write_report(run))
    page.loads_nothing()
    assert "members 6" in page.text and "member 4 · nan" in page.text
    # the mean of 2, 4 and 3 within its standard error, and of the two that are left of the other value
    assert "w 0.5 3 3 ± 0.5774" in page.text and "w 2.0 2 of 3 4 ± 3" in page.text
    assert "e, best of each member" in page.text
    bands = [attributes for tag, attributes in page.tags if tag == "polygon"]
    # fid, odd and the loss, two values each
    assert len(bands) == 6 and all(one["class"] == "band" for one in bands)
    assert "member 5, step 20" in page.text
