import json
import math

import pytest

from jaxgan.evaluation.comparison import write_comparison
from jaxgan.evaluation.report import write_report
from jaxgan.evaluation.seeds import summary
from tests.evaluation.pages import Page, make_run, population


def test_report_of_wrongly_typed_fields(tmp_path):
    contents = {"recipe": None, "config": [1], "options": {"steps": "many", "seed": {"a": 1}}}
    (tmp_path / "config.json").write_text(json.dumps(contents))
    (tmp_path / "manifest.json").write_text('{"devices": 3, "parameters": 5, "data": "x", "versions": null}')
    rows = ['{"step": 1, "event": null}', '{"step": 2, "evaluation": 7, "fid": "low", "x": true}', '{"step": "3"}']
    (tmp_path / "metrics.jsonl").write_text("\n".join(rows))
    Page(write_report(tmp_path)).loads_nothing()
    write_comparison([tmp_path], tmp_path / "out.html")
    summary(tmp_path)


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
