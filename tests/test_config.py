"""Configs and options as JSON and as flags."""

import dataclasses
import math
from typing import Any, Literal

import pytest
import tyro

from jaxgan import recipes
from jaxgan.config import (
    Options,
    RequestError,
    at_least,
    changed,
    combinations,
    finite,
    fraction,
    from_json,
    parse,
    settings,
    to_json,
)
from jaxgan.recipes import classifier, dcgan, ring

PRESETS = [(name, preset) for name in recipes.INDEX for preset in recipes.find(name).PRESETS]


@dataclasses.dataclass(frozen=True)
class Inner:
    weight: float = 1.0
    """How much."""
    decay: float = 0.5
    """How slowly."""
    loss: Literal["hinge", "minimax"] = "hinge"
    """Which."""

    def __post_init__(self) -> None:
        at_least(self, 0, "weight")
        fraction(self, "decay")


@dataclasses.dataclass(frozen=True)
class Outer:
    width: int = 3
    """How wide."""
    depth: int = 2
    """How deep."""
    flip: bool = False
    """Whether to."""
    inner: tyro.conf.OmitArgPrefixes[Inner] = Inner(0.5)
    """What is within."""


@pytest.mark.parametrize(("recipe", "preset"), PRESETS)
def test_every_preset_survives_json(recipe: str, preset: str) -> None:
    chosen = recipes.find(recipe).PRESETS[preset]
    for value in (chosen.config, chosen.options):
        assert from_json(type(value), to_json(value)) == value


@pytest.mark.parametrize("kind", [Options, ring.Config, dcgan.Config, classifier.Config])
def test_every_field_survives_json(kind: Any) -> None:
    other: dict[str, Any] = {"steps": 7, "data": "folder:x", "size": 12, "resizer": "box", "devices": 2, "name": "n"}
    other |= {"latent": 3, "loss": "hinge", "r1_weight": 0.25, "flip": True, "dtype": "bfloat16", "shift": False}
    another = changed(kind(), other)
    assert another != kind() and from_json(kind, to_json(another)) == another


def test_each_flag_means_one_thing() -> None:
    common = {field.name for field in dataclasses.fields(Options)}
    for name in recipes.INDEX:
        names = [*settings(recipes.find(name).Config())]
        assert not common & set(names) and len(names) == len(set(names)), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widht": 3}, r"fields \['widht'\] do not belong to this version's Outer"),
        ({"width": None}, "width has type NoneType, expected"),
        ({"width": "wide"}, "width has type str"),
        ({"width": 2.5}, "width has type float"),
        ({"inner": 3}, "inner has type int, expected an object"),
        ({"inner": {}}, r"fields \['decay', 'loss', 'weight'\] do not belong to this version's Inner"),
        ({"inner": {**to_json(Inner()), "weight": "x"}}, "weight has type str"),
        ({"inner": {**to_json(Inner()), "loss": "nope"}}, r"loss is one of \['hinge', 'minimax'\], got 'nope'"),
        ({"inner": {**to_json(Inner()), "decay": 1.0}}, r"--decay lies in \[0, 1\), got 1.0"),
        ({"inner": {**to_json(Inner()), "weight": math.nan}}, "--weight is at least 0, got nan"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        from_json(Outer, {**to_json(Outer()), **change})


def test_missing_fields_are_refused() -> None:
    values = to_json(Outer())
    del values["depth"], values["flip"]
    with pytest.raises(RequestError, match=r"fields \['depth', 'flip'\] do not belong"):
        from_json(Outer, values)


def test_whole_numbers_are_good_fractions() -> None:
    assert from_json(Inner, {**to_json(Inner()), "weight": 1}).weight == 1.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0), ("batch", 0), ("keep", 0), ("evaluate_samples", 1), ("log_every", -1), ("save_every", -1),
        ("sample_every", -2), ("evaluate_every", -1), ("seed", -1), ("seed", 2**32), ("name", "a/b"), ("name", ".."),
    ],
)  # fmt: skip
def test_options_out_of_range(field: str, value: Any) -> None:
    with pytest.raises(RequestError, match="--" + field.replace("_", "-")):
        Options(**{field: value})


def test_bounds() -> None:
    @dataclasses.dataclass(frozen=True)
    class Config:
        some_rate: float

    at_least(Config(2), 2, "some_rate")
    fraction(Config(0), "some_rate")
    for check, value in ((lambda c: at_least(c, 2, "some_rate"), 1.9), (lambda c: fraction(c, "some_rate"), 1)):
        with pytest.raises(RequestError, match=r"--some-rate .* got"):
            check(Config(value))


def test_finite() -> None:
    assert finite({"a": math.inf, "b": {"c": math.nan, "d": 1.5}, "e": "x", "f": 3}) == {
        "a": None, "b": {"c": None, "d": 1.5}, "e": "x", "f": 3,
    }  # fmt: skip


def test_flags_change_the_defaults_they_name() -> None:
    default = Outer(width=9, flip=True)
    assert parse(Outer, ["--depth", "5"], "x", default) == dataclasses.replace(default, depth=5)
    assert parse(Outer, ["--no-flip"], "x", default) == dataclasses.replace(default, flip=False)
    with pytest.raises(RequestError, match="see x --help"):
        parse(Outer, ["--depth"], "x")


def test_every_field_has_its_line_of_help(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in (Options, Outer, ring.Config, dcgan.Config, classifier.Config):
        with pytest.raises(SystemExit) as stop:
            parse(tyro.conf.OmitArgPrefixes[kind], ["--help"], "x", description="About x.")
        assert stop.value.code == 0
        shown = capsys.readouterr().out
        for name in settings(kind()):
            assert "--" + name.replace("_", "-") in shown or "--no-" + name.replace("_", "-") in shown
        assert "About x." in shown


def test_nested_configs_are_configs() -> None:
    value = Outer(4, inner=Inner(0.25, loss="minimax"))
    assert to_json(value)["inner"] == {"weight": 0.25, "decay": 0.5, "loss": "minimax"}
    assert from_json(Outer, to_json(value)) == value
    assert parse(Outer, ["--weight", "2"], "x", value) == Outer(4, inner=Inner(2.0, loss="minimax"))


def test_settings_are_found_where_they_lie() -> None:
    expected = {"width": 3, "depth": 2, "flip": False, "weight": 0.5, "decay": 0.5, "loss": "hinge"}
    assert settings(Outer()) == expected
    assert changed(Outer(), {"weight": 2.0, "width": 7}) == Outer(7, inner=Inner(2.0))
    assert changed(Outer(), {"other": 1}) == Outer()
    with pytest.raises(RequestError, match="--weight is at least 0"):
        changed(Outer(), {"weight": -1.0})


def test_combinations_are_a_product_in_order() -> None:
    options = Options(vary=("width=1,2", "--weight=0,1e-1"), seeds=2)
    assert combinations(Outer(), options) == [
        {"width": 1, "weight": 0.0},
        {"width": 1, "weight": 0.1},
        {"width": 2, "weight": 0.0},
        {"width": 2, "weight": 0.1},
    ]
    assert combinations(Outer(), Options()) == [{}]
    words = combinations(Outer(), Options(vary=("loss=hinge,minimax", "flip=true,False")))
    assert words[1] == {"loss": "hinge", "flip": False} and len(words) == 4


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("weight", r"NAME=VALUE,VALUE,\.\.\., got 'weight'"),
        ("weight=", "NAME=VALUE"),
        ("wieght=1", "no such setting; perhaps you meant weight"),
        ("steps=1,2", "--vary steps: all members of a population share it"),
        ("weight=1,x", "--vary weight: 'x' is not a number"),
        ("depth=1,2.5", "--vary depth: '2.5' is not a whole number"),
        ("weight=1,1.0", "--vary weight: its values differ, got 1,1.0"),
        ("weight=1,-1", "--weight is at least 0, got -1"),
        ("loss=hinge,nope", r"--vary loss is one of \['hinge', 'minimax'\], got 'nope'"),
        ("flip=maybe", "--vary flip: 'maybe' is not true or false"),
        ("width=5", "--vary width was given twice"),
    ],
)
def test_what_cannot_vary(item: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        combinations(Outer(), Options(vary=("width=1,2", item)))


def test_a_population_only_warns_of_a_collapse() -> None:
    assert Options(seeds=2).population and Options(vary=("a=1",)).population and not Options().population
    for values in ({"seeds": 2}, {"vary": ("a=1,2",)}):
        with pytest.raises(RequestError, match="--on-collapse stop is for a single run"):
            Options(on_collapse="stop", **values)
    with pytest.raises(RequestError, match="--seed lies in"):
        Options(seed=2**32 - 1, seeds=2)
