"""Configs and options as JSON and as flags."""

import dataclasses
import math
from typing import Any

import pytest
import tyro

from jaxgan import recipes
from jaxgan.config import (
    Options,
    RequestError,
    at_least,
    changed,
    finite,
    fraction,
    from_json,
    parse,
    settings,
    to_json,
)
from jaxgan.recipes import classifier, dcgan, ring

PRESETS = [(name, preset) for name in recipes.INDEX for preset in recipes.find(name).PRESETS]


@pytest.mark.parametrize(("recipe", "preset"), PRESETS)
def test_every_preset_survives_json(recipe: str, preset: str) -> None:
    chosen = recipes.find(recipe).PRESETS[preset]
    for value in (chosen.config, chosen.options):
        assert from_json(type(value), to_json(value)) == value


@pytest.mark.parametrize("kind", [Options, ring.Config, dcgan.Config, classifier.Config])
def test_every_field_survives_json(kind: Any) -> None:
    other: dict[str, Any] = {"steps": 7, "data": "folder:x", "size": 12, "resizer": "box", "devices": 2, "name": "n"}
    other |= {"latent": 3, "loss": "hinge", "r1_weight": 0.25, "flip": True, "dtype": "bfloat16", "shift": False}
    names = {field.name for field in dataclasses.fields(kind)}
    changed = dataclasses.replace(kind(), **{name: value for name, value in other.items() if name in names})
    assert changed != kind() and from_json(kind, to_json(changed)) == changed


def test_each_flag_means_one_thing() -> None:
    common = {field.name for field in dataclasses.fields(Options)}
    for name in recipes.INDEX:
        assert not common & {field.name for field in dataclasses.fields(recipes.find(name).Config)}, name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widht": 3}, r"fields \['widht'\] do not belong to this version's Config"),
        ({"width": None}, "width has type NoneType, expected"),
        ({"width": "wide"}, "width has type str"),
        ({"width": 2.5}, "width has type float"),
        ({"loss": "nope"}, r"loss is one of \['non_saturating', .*, got 'nope'"),
        ({"ema_decay": 1.0}, r"--ema-decay lies in \[0, 1\), got 1.0"),
        ({"r1_weight": math.nan}, "--r1-weight is at least 0, got nan"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        from_json(ring.Config, {**to_json(ring.Config()), **change})


def test_missing_fields_are_refused() -> None:
    values = to_json(ring.Config())
    del values["depth"], values["beta1"]
    with pytest.raises(RequestError, match=r"fields \['beta1', 'depth'\] do not belong"):
        from_json(ring.Config, values)


def test_whole_numbers_are_good_fractions() -> None:
    assert from_json(ring.Config, {**to_json(ring.Config()), "r1_weight": 1}).r1_weight == 1.0


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
    default = ring.Config(width=9, simultaneous=True)
    assert parse(ring.Config, ["--latent", "5"], "x", default) == dataclasses.replace(default, latent=5)
    assert parse(ring.Config, ["--no-simultaneous"], "x", default) == dataclasses.replace(default, simultaneous=False)
    with pytest.raises(RequestError, match="see x --help"):
        parse(ring.Config, ["--latent"], "x")


def test_every_field_has_its_line_of_help(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in (Options, ring.Config, dcgan.Config, classifier.Config):
        with pytest.raises(SystemExit) as stop:
            parse(kind, ["--help"], "x", description="About x.")
        assert stop.value.code == 0
        shown = capsys.readouterr().out
        for field in dataclasses.fields(kind):
            assert "--" + field.name.replace("_", "-") in shown or "--no-" + field.name.replace("_", "-") in shown
        assert "About x." in shown


@dataclasses.dataclass(frozen=True)
class Inner:
    weight: float = 1.0
    """How much."""

    def __post_init__(self) -> None:
        at_least(self, 0, "weight")


@dataclasses.dataclass(frozen=True)
class Outer:
    width: int = 3
    """How wide."""
    inner: tyro.conf.OmitArgPrefixes[Inner] = Inner(0.5)
    """What is within."""


def test_nested_configs_are_configs() -> None:
    value = Outer(4, Inner(0.25))
    assert to_json(value) == {"width": 4, "inner": {"weight": 0.25}} and from_json(Outer, to_json(value)) == value
    for inner, message in (({}, r"\['weight'\]"), ({"weight": "x"}, "weight has type str"), (3, "inner has type int")):
        with pytest.raises(RequestError, match=message):
            from_json(Outer, {"width": 4, "inner": inner})
    with pytest.raises(RequestError, match="--weight is at least 0, got -1"):
        from_json(Outer, {"width": 4, "inner": {"weight": -1}})
    assert parse(Outer, ["--weight", "2"], "x", value) == Outer(4, Inner(2.0))


def test_settings_are_found_where_they_lie() -> None:
    assert settings(Outer()) == {"width": 3, "weight": 0.5}
    assert changed(Outer(), {"weight": 2.0, "width": 7}) == Outer(7, Inner(2.0))
    assert changed(Outer(), {"other": 1}) == Outer()
    with pytest.raises(RequestError, match="--weight is at least 0"):
        changed(Outer(), {"weight": -1.0})
