import re

import numpy as np
import pytest

from jaxgan.evaluation.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Series, format_number, line_chart


def polylines(svg):
    found = re.findall(r'<polyline[^>]*points="([^"]*)"', svg)
    return [np.array([point.split(",") for point in one.split()], float) for one in found]


def test_coordinates_follow_the_values():
    (line,) = polylines(line_chart([Series("a", np.array([0, 10, 40]), np.array([1.0, 3.0, 2.0]))], "t"))
    np.testing.assert_allclose(line[:, 0], LEFT + (WIDTH - LEFT - RIGHT) * np.array([0, 0.25, 1]), atol=0.06)
    # Up is larger: the picture's y runs down.
    assert TOP < line[1, 1] < line[2, 1] < line[0, 1] < HEIGHT - BOTTOM
    np.testing.assert_allclose(line[2, 1], (line[0, 1] + line[1, 1]) / 2, atol=0.11)


def test_gaps_split_the_line_and_a_lone_point_is_a_dot():
    values = np.array([1.0, 2.0, np.nan, 3.0, np.inf, 4.0, 5.0])
    svg = line_chart([Series("a", np.arange(7), values)], "t")
    assert [len(line) for line in polylines(svg)] == [2, 2]
    assert svg.count("<circle") == 1
    assert "2 values not finite" in svg


def test_log_scale_for_many_decades():
    svg = line_chart([Series("a", np.arange(5), 10.0 ** -np.arange(5))], "t")
    (line,) = polylines(svg)
    np.testing.assert_allclose(np.diff(line[:, 1]), np.diff(line[:, 1])[0], atol=0.11)
    assert "log scale" in svg
    assert "log scale" not in line_chart([Series("a", np.arange(5), -(10.0 ** -np.arange(5)))], "t")


def test_an_outlier_is_cut_off_and_named():
    values = np.sin(np.arange(200.0))
    values[150] = 5e5
    svg = line_chart([Series("a", np.arange(200), values)], "t")
    assert "cut off above; highest 500,000" in svg
    (line,) = polylines(svg)
    assert np.ptp(line[:100, 1]) > 0.7 * (HEIGHT - TOP - BOTTOM)


def test_long_curves_are_thinned_but_keep_their_spikes():
    values = np.zeros(50_000)
    values[31_234] = 1.0
    values[40_000] = np.nan
    lines = polylines(line_chart([Series("a", np.arange(50_000), values)], "t"))
    assert sum(len(line) for line in lines) < 1500
    assert len(lines) == 2
    assert min(line[:, 1].min() for line in lines) < TOP + 20


@pytest.mark.parametrize(
    "values", [[], [np.nan, np.inf], [3.0], [0.0, 0.0], [1e308, -1e308], [1e-320, 2e-320], [1e16, 1e16 + 2]]
)
def test_awkward_values_still_make_a_figure(values):
    svg = line_chart(
        [Series("a", np.arange(len(values)), np.array(values)), Series("b", np.zeros(0), np.zeros(0))], "t"
    )
    assert (
        svg.startswith("<figure") and svg.endswith("</figure>") and "nan" not in svg.lower().replace("not finite", "")
    )


def test_names_are_escaped():
    svg = line_chart([Series("<b>", np.arange(2), np.arange(2.0)), Series("x", np.arange(2), np.arange(2.0))], '"<i>&')
    assert "<b>1</b>" in svg and svg.count("&lt;b&gt;") == 2
    assert "<i>&" not in svg and 'aria-label="&quot;&lt;i&gt;&amp;"' in svg


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (12345.0, "12,345"),
        (-3.0, "−3"),
        (0.000123456, "0.0001235"),
        (15.6789, "15.68"),
        (123456.7, "123,457"),
        (1.5e12, "1.5e+12"),
        (float("nan"), "NaN"),
        (float("-inf"), "−∞"),
    ],
)
def test_format_number(value, text):
    assert format_number(value) == text


def test_a_band_lies_around_its_line():
    steps, values, errors = np.arange(4), np.array([1.0, 3.0, 2.0, np.nan]), np.array([0.5, 0.25, 0.0, 1.0])
    svg = line_chart([Series("a", steps, values, errors)], "t")
    (line,) = polylines(svg)
    (points,) = re.findall(r'<polygon class="band" points="([^"]*)"', svg)
    band = np.array([point.split(",") for point in points.split()], float)
    upper, lower = band[:3], band[5:2:-1]
    np.testing.assert_allclose(upper[:, 0], line[:, 0])
    np.testing.assert_allclose((upper + lower) / 2, line, atol=0.11)
    scale = (line[0, 1] - line[1, 1]) / 2.0
    np.testing.assert_allclose(lower[:, 1] - upper[:, 1], 2 * scale * errors[:3], atol=0.25)
    assert "band" not in line_chart([Series("a", steps, values)], "t")


def test_a_band_below_zero_keeps_the_logarithmic_axis():
    values = 10.0 ** -np.arange(5.0)
    svg = line_chart([Series("a", np.arange(5), values, 2 * values)], "t")
    assert "log scale" in svg and "nan" not in svg.lower()
