import base64
import json
import math
import struct
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest

from jaxgan.evaluation import report
from jaxgan.evaluation.report import summary, write_comparison, write_report
from tests.evaluation.test_record import population

VOID = {"meta", "img"}


class Page(HTMLParser):
    """Tags with attributes, visible text, and whether every element was closed."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def images(self):
        sources = [attributes["src"] for tag, attributes in self.tags if tag == "img"]
        assert all(source.startswith("data:image/png;base64,") for source in sources)
        return [base64.b64decode(source.split(",", 1)[1]) for source in sources]

    def loads_nothing(self):
        assert not {tag for tag, _ in self.tags} & {"script", "link", "iframe", "object", "embed", "video", "audio"}
        for _, attributes in self.tags:
            for name, value in attributes.items():
                assert not name.startswith("on")
                if name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href", "background"):
                    assert value.startswith("data:image/png")
        assert "url(" not in self.source and "@import" not in self.source


def png(pixels):
    """uint8 [height, width, 3] as a PNG file, by the format's definition."""
    height, width, _ = pixels.shape
    lines = b"".join(b"\x00" + row.tobytes() for row in pixels)

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def make_run(directory, seed=0, rate=2e-4, features="classifier-digits", steps=3000):
    (directory / "samples").mkdir(parents=True)
    options = {"steps": steps, "batch": 64, "seed": seed, "data": "digits"}
    config = {"generator_rate": rate, "betas": [0.5, 0.999], "note": "<script>alert('config')</script>"}
    (directory / "config.json").write_text(
        json.dumps({"recipe": "dcgan", "config": config, "options": options, "version": "0.1.0"})
    )
    manifest = {
        "command": f'jaxgan train dcgan --data digits --note "<script>" --seed {seed}',
        "versions": {"jax": "0.10.2"},
        "devices": ["cpu", "cpu"],
        "git_revision": None,
        "data": {
            "name": "digits",
            "fingerprint": "9f2c",
            "n_train": 1437,
            "note": "<img src=http://example.com/x.png>",
        },
        "parameters": {"generator": 1234567},
        "date": "2025-11-02",
    }
    (directory / "manifest.json").write_text(json.dumps(manifest))
    rows = []
    for step in range(100, 3001, 100):
        loss = math.nan if step == 700 else 0.7 + seed + 100 / step
        rows.append({"step": step, "seconds": step / 20, "examples_per_second": 5000.0 + step % 7})
        rows[-1] |= {"generator/loss": loss, "discriminator/loss": 1.3, "discriminator/r1": 5.0 / step, "d/ran": 1.0}
        if step % 1500 == 0:
            distance = 20.0 + (5.5 if step == 3000 else 0.0) + seed
            rows.append({"step": step, "evaluation": "images", "frechet_distance": distance, "recognised": 0.875})
            rows[-1] |= {"kernel_distance": 0.0123, "kernel_distance_error": 0.0045, "n_fake": 1000}
            rows[-1] |= {"features": features, "reference_hash": "ab12", "seconds": 2.0}
    rows.append({"step": 2600, "event": "collapse", "message": "variance fell <b>far</b>"})
    (directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 31')
    for step in range(0, 3001, 150):
        shade = np.full((9, 7, 3), step // 20, np.uint8)
        (directory / "samples" / f"{step:06d}.png").write_bytes(png(shade))
    (directory / "reals.png").write_bytes(png(np.full((9, 7, 3), 255, np.uint8)))
    return directory


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


def test_report_of_wrongly_typed_fields(tmp_path):
    contents = {"recipe": None, "config": [1], "options": {"steps": "many", "seed": {"a": 1}}}
    (tmp_path / "config.json").write_text(json.dumps(contents))
    (tmp_path / "manifest.json").write_text('{"devices": 3, "parameters": 5, "data": "x", "versions": null}')
    rows = ['{"step": 1, "event": null}', '{"step": 2, "evaluation": 7, "fid": "low", "x": true}', '{"step": "3"}']
    (tmp_path / "metrics.jsonl").write_text("\n".join(rows))
    Page(write_report(tmp_path)).loads_nothing()
    write_comparison([tmp_path], tmp_path / "out.html")
    summary(tmp_path)


def test_an_unfinished_run_says_so(tmp_path):
    page = Page(write_report(make_run(tmp_path / "run", steps=9000)))
    assert "the run stands at step 3,000 of 9,000" in page.text


def test_not_a_run(tmp_path):
    for write in (write_report, summary, lambda path: write_comparison([path], tmp_path / "out.html")):
        with pytest.raises(ValueError, match="is not a run directory"):
            write(tmp_path)
    with pytest.raises(ValueError, match="at least one"):
        write_comparison([], tmp_path / "out.html")
    assert list(tmp_path.iterdir()) == []


def test_comparison(tmp_path):
    first, second = make_run(tmp_path / "a"), make_run(tmp_path / "b", seed=1, rate=1e-4)
    path = write_comparison([first, second], tmp_path / "pages" / "compare.html")
    page = Page(path)
    page.loads_nothing()
    assert path == tmp_path / "pages" / "compare.html"
    assert "a 3,000 25.5 0.875 0.0123 ± 0.0045" in page.text
    assert "b 3,000 26.5 0.875 0.0123 ± 0.0045" in page.text
    # Only what differs, and only the better of two different values is marked.
    assert "options.seed 0 1" in page.text and "config.generator_rate 0.0002 0.0001" in page.text
    assert "options.batch" not in page.text and "config.betas" not in page.text
    assert page.source.count("class=best") == 1 and "<td class=best>25.5</td>" in page.source
    assert "not comparable" not in page.text
    assert "step 2,600 · collapse" in page.text
    assert len(page.images()) == 3
    titles = [attributes["aria-label"] for tag, attributes in page.tags if tag == "svg" and "role" in attributes]
    assert {"images/frechet_distance", "generator/loss", "discriminator/loss"} <= set(titles)
    assert "discriminator/r1" not in titles


def test_comparison_marks_the_higher_of_what_should_be_high(tmp_path):
    for name, recall, step in (("a", 0.25, 10), ("b", 0.75, 20), ("c", math.nan, 30)):
        (tmp_path / name).mkdir()
        row = {"step": step, "evaluation": "e", "recall": recall}
        (tmp_path / name / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    page = Page(write_comparison([tmp_path / name for name in "abc"], tmp_path / "out.html"))
    assert page.source.count("class=best") == 1 and "<td class=best>0.75</td>" in page.source


def test_comparison_of_runs_measured_differently_marks_nothing(tmp_path):
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", seed=1, features="random-conv-0")]
    page = Page(write_comparison(runs, tmp_path / "out.html"))
    assert "not comparable: the runs were measured with different features" in page.text
    assert "class=best" not in page.source


def test_runs_of_the_same_name_stay_apart(tmp_path):
    runs = [make_run(tmp_path / "x" / "run"), make_run(tmp_path / "y" / "run", seed=1)]
    text = Page(write_comparison(runs, tmp_path / "out.html")).text
    assert str(runs[0].resolve()) in text and str(runs[1].resolve()) in text


def test_a_name_cannot_leave_its_attribute(tmp_path):
    name = "\" onerror='alert(1)' x=\"<b>"
    run = make_run(tmp_path / name)
    for path in (write_report(run), write_comparison([run], tmp_path / "out.html")):
        page = Page(path)
        page.loads_nothing()
        assert name in page.text and "<b>" not in page.source.split("</h1>")[0]
    assert f"{name}, step 3,000" in [attributes["alt"] for tag, attributes in page.tags if tag == "img"]


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


def test_populations_are_compared_by_their_values(tmp_path):
    page = Page(write_comparison([population(tmp_path)], tmp_path / "out.html"))
    page.loads_nothing()
    assert "2 runs compared" in page.text and "run: w 0.5" in page.text and "run: w 2.0 20 4 ± 3" in page.text


def test_what_was_measured_at_the_end_of_a_population_is_over_its_seeds(tmp_path):
    run = population(tmp_path)
    scores = {0: 2.0, 1: 4.0, 2: 3.0, 3: 7.0, 5: 1.0}
    rows = [
        {"checkpoint": "final", "step": 20, "member": member, "evaluation": "images", "frechet_distance": value}
        | {"kernel_distance": 1.0, "kernel_distance_error": 0.25, "features": "classifier-x", "n_fake": 50}
        for member, value in scores.items()
    ]
    (run / "evaluations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = Page(write_report(run))
    page.loads_nothing()
    assert "FD(classifier-x) ↓ 3 ± 0.5774" in page.text and "FD(classifier-x) ↓ 4 ± 3" in page.text
    # all seeds had the same: that is no deviation, whatever the error of one evaluation
    assert "KD(classifier-x) ↓ 1 ± 0" in page.text and "over training seeds" in page.text
    # the best checkpoint may be the final one: two rows of one step
    rows += [{**row, "checkpoint": "best", "frechet_distance": row["frechet_distance"] / 2} for row in rows]
    (run / "evaluations.jsonl").write_text("".join(json.dumps({**row, "seed": 0}) + "\n" for row in rows))
    compared = Page(write_comparison([run], tmp_path / "out.html"))
    assert "final checkpoint run: w 0.5 run: w 2.0 FD(classifier-x) ↓ 3 ± 0.5774 4 ± 3" in compared.text
    assert "best checkpoint run: w 0.5 run: w 2.0 FD(classifier-x) ↓ 1.5 ± 0.2887 2 ± 1.5" in compared.text
    # which row it is has no mean
    assert "seed_error" not in compared.text and "seed_error" not in Page(write_report(run)).text


def test_a_metric_that_one_run_lacks_still_has_a_best_among_the_others(tmp_path):
    runs = []
    for name, agreement in (("none", None), ("low", 0.5), ("high", 0.75)):
        run = make_run(tmp_path / name)
        row = {"checkpoint": "final", "step": 5, "evaluation": "images", "agreement": agreement, "features": "f"}
        (run / "evaluations.jsonl").write_text(json.dumps(row) + "\n")
        runs.append(run)
    source = write_comparison(runs, tmp_path / "out.html").read_text()
    assert '<td class="best">0.75</td>' in source and '<td class="best">0.5</td>' not in source
