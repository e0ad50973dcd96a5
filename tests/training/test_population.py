"""Populations: a member is the single run with its seed and numbers, however the members are laid over the machine."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan.game import Game, LossInput, LossOutput, Update, every
from jaxgan.optimizers import from_hyper
from jaxgan.training import population
from jaxgan.training.checkpoint import Checkpoints
from jaxgan.training.log import read_rows
from jaxgan.training.loop import Plan, fit, fit_population
from jaxgan.training.parallel import configure_backend
from jaxgan.training.population import Group, Layout, Member
from jaxgan.training.program import Program, lowered
from jaxgan.training.recipe import Recipe, Stage
from tests.commands import assert_same_arrays, assert_same_run, finish, start, timeless
from tests.training.test_loop import (
    PICTURES,
    POINTS,
    compilations,
    convolution,
    dense,
    game,
    recipe,
    resident,
    streamed,
)

PLAN = Plan(log_every=4, sample_every=6, save_every=6, evaluate_every=6, keep=100, devices=1, quiet=True)
# (seed, rate, pull_weight): three, which two devices do not share evenly
MEMBERS = ((3, 0.1, 0.0), (4, 0.05, 0.5), (3, 0.2, 2.0))
SOMETIMES = every(3)


@pytest.fixture(scope="module", autouse=True)
def _programs_are_compiled_once() -> None:
    configure_backend()


def pulled(
    net: Any, rate: float, weight: float, when: Any = SOMETIMES, bad: float = 0.0
) -> tuple[Game, dict[str, float]]:
    """Gradient descent with a step size of the run, and a pull of player a towards 0 that is left out if it is 0.

    bad: 1 for a loss that is not a number from step 7 on.
    """
    numbers = {"rate": rate, "pull_weight": weight, "bad": bad}
    made = game(net, from_hyper(lambda hyper, step: optax.sgd(hyper["rate"]), numbers), when)
    first, *others = made.updates

    def loss(params: Mapping[str, Any], inputs: LossInput) -> Any:
        value, output = first.loss(params, inputs)
        if weight:
            value += inputs.hyper["pull_weight"] * sum(jnp.mean(x**2) for x in jax.tree.leaves(params["a"]))
        return value + jnp.where((inputs.hyper["bad"] > 0) & (inputs.step >= 7), jnp.nan, 0.0), output

    return replace(made, updates=(Update("a", ("a",), loss), *others)), numbers


def shuffled(seed: int) -> Any:
    """A stream whose order is the seed's."""
    return streamed(np.random.default_rng(seed).permutation(POINTS))


def looped(seed: int, rate: float, weight: float, bad: float = 0.0) -> Recipe:
    made, hyper = pulled(dense(4), rate, weight, bad=bad)
    return recipe(Stage(made, 13, resident(POINTS), hyper=hyper))


def stepwise(seed: int, rate: float, weight: float) -> Recipe:
    made, hyper = pulled(convolution(), rate, weight)
    return Recipe((Stage(made, 13, resident(PICTURES), hyper=hyper),))


def of_a_stream(seed: int, rate: float, weight: float) -> Recipe:
    made, hyper = pulled(dense(4), rate, weight)
    return recipe(Stage(made, 13, shuffled(seed), hyper=hyper))


def staged(seed: int, rate: float, weight: float) -> Recipe:
    first, hyper = pulled(dense(4), rate, weight)
    second, _ = pulled(dense(4), rate, weight, when=None)
    halved = {**hyper, "rate": rate / 2}

    def carry(before: Any, fresh: Any) -> Any:
        return replace(fresh, params={**fresh.params, "a": before.params["a"]}, memory=before.memory)

    return recipe(
        Stage(first, 7, resident(POINTS), hyper=hyper), Stage(second, 13, shuffled(seed), carry=carry, hyper=halved)
    )


KINDS = {"looped": looped, "stepwise": stepwise, "streamed": of_a_stream, "staged": staged}


def group(make: Any, members: Sequence[tuple[float, ...]] = MEMBERS, first: int = 0) -> Group:
    """All members by the program of the last one, which has every term."""
    made = [Member(first + i, int(m[0]), make(int(m[0]), *m[1:])) for i, m in enumerate(members)]
    return Group(make(0, *members[-1][1:]), tuple(made))


def run_alone(made: Recipe, folder: Path, seed: int) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    folder.mkdir()
    assert fit(made, folder, PLAN, seed).stopped == "end"
    return Checkpoints(folder / "checkpoints").restore_arrays()[1], timeless(folder)


def member_arrays(run: Path, program: int, row: int, step: int | None = None) -> dict[str, np.ndarray]:
    arrays, prefix = Checkpoints(run / "checkpoints").restore_arrays(step)[1], f"programs.{program}."
    ours = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
    return {n: a if n == "state.step" else a[row] for n, a in ours.items()}


def choose(patch: pytest.MonkeyPatch, form: str) -> None:
    patch.setattr(population, "WORTH_VMAP_ON_CPU", {"together": np.inf, "in turn": 0.0}[form])


# convolutions are never stepped together
FORMS = [
    *[("looped", form, devices) for form in ("together", "in turn") for devices in (1, 2)],
    ("stepwise", "in turn", 2),
    ("streamed", "together", 2),
    ("streamed", "in turn", 1),
    ("staged", "together", 2),
]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Any]]:
    """The single runs that the members of a kind are compared with, (arrays, rows) each."""

    @cache
    def runs(kind: str) -> list[Any]:
        folder = tmp_path_factory.mktemp(kind)
        return [run_alone(KINDS[kind](m[0], *m[1:]), folder / f"{i}", m[0]) for i, m in enumerate(MEMBERS)]

    return runs


@pytest.mark.parametrize(("kind", "form", "devices"), FORMS)
def test_a_member_is_the_single_run_with_its_seed_and_numbers(
    kind: str,
    form: str,
    devices: int,
    alone: Callable[[str], list[Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    choose(monkeypatch, form)
    plan = replace(PLAN, devices=devices)
    assert fit_population([group(KINDS[kind])], tmp_path, plan).stopped == "end"
    rows = timeless(tmp_path)
    for number, (expected, expected_rows) in enumerate(alone(kind)):
        arrays = member_arrays(tmp_path, 0, number)
        assert arrays.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_allclose(arrays[name], array, rtol=1e-4, atol=1e-5, err_msg=name)
        mine = [{n: v for n, v in row.items() if n != "member"} for row in rows if row["member"] == number]
        assert len(mine) == len(expected_rows)
        for row, expected_row in zip(mine, expected_rows, strict=True):
            assert row.keys() == expected_row.keys()
            numbers = {n: v for n, v in expected_row.items() if not isinstance(v, str)}
            assert {n: row[n] for n in numbers} == pytest.approx(numbers, rel=1e-3, abs=1e-5)
    # or agreement would mean nothing
    weights = [a[0]["state.params.a.kernel" if kind == "stepwise" else "state.params.a.into"] for a in alone(kind)]
    assert min(np.abs(x - y).max() for i, x in enumerate(weights) for y in weights[:i]) > 1e-3


@pytest.mark.parametrize(("form", "devices"), [("together", 1), ("in turn", 2)])
def test_a_group_is_one_program(form: str, devices: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(monkeypatch, form)
    others = ((1, 0.1, 0.5), (2, 0.1, 0.5))

    def wide(seed: int, rate: float, weight: float) -> Recipe:
        made, hyper = pulled(dense(6), rate, weight)
        return recipe(Stage(made, 13, resident(POINTS), hyper=hyper))

    with compilations() as compiled:
        fit_population([group(looped), group(wide, others, 3)], tmp_path, replace(PLAN, devices=devices))
    assert len([name for name in compiled if "on_all" in name or "on_one_device" in name]) == 2
    assert {row["member"] for row in read_rows(tmp_path / "metrics.jsonl")} == set(range(5))
    assert len(list((tmp_path / "samples").glob("000012-member*.png"))) == 5


def test_an_update_that_is_not_due_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    choose(monkeypatch, "together")
    ours = group(looped)
    program = Program(ours.recipe.stages[0], 1, [m.recipe.stages[0] for m in ours.members])
    carry = program.start([m.seed for m in ours.members])
    compiled: Any = program._played
    text = compiled.lower(carry[0], program.arrays, np.int32(3)).as_text()
    assert "stablehlo.case" in text or "stablehlo.if" in text


@pytest.mark.parametrize(
    ("kind", "form"), [("looped", "together"), ("streamed", "in turn"), ("staged", "together"), ("staged", "in turn")]
)
def test_a_resumed_population_is_the_uninterrupted_one(
    kind: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(monkeypatch, form)
    plan = replace(PLAN, save_every=1, devices=2)

    def groups() -> list[Group]:
        return [group(KINDS[kind]), group(KINDS[kind], MEMBERS[:1], 3)]

    (tmp_path / "whole").mkdir()
    assert fit_population(groups(), tmp_path / "whole", plan).step == 13
    for stop in {"staged": (3, 7)}.get(kind, (5,)):
        run = Path(shutil.copytree(tmp_path / "whole", tmp_path / f"from{stop}"))
        for step in range(stop + 1, 14):
            shutil.rmtree(run / "checkpoints" / f"{step:08d}")
        assert fit_population(groups(), run, plan, resume=True).stopped == "end"
        assert_same_run(tmp_path / "whole", run)


def breaking(seed: int, rate: float, bad: float) -> Recipe:
    return looped(seed, rate, 0.5, bad)


def test_a_member_that_breaks_leaves_the_others_alone(tmp_path: Path) -> None:
    members = ((3, 0.1, 0.0), (3, 0.1, 1.0), (4, 0.1, 0.0))
    (tmp_path / "whole").mkdir()
    plan = replace(PLAN, save_every=1, devices=2)
    assert fit_population([group(breaking, members)], tmp_path / "whole", plan).stopped == "end"
    rows = timeless(tmp_path / "whole")
    assert [row for row in rows if "event" in row] == [
        {"step": 8, "event": "nan", "member": 1, "message": "a/loss was not finite at step 7"}
    ]
    assert [row["step"] for row in rows if row["member"] == 1 and "a/loss" in row] == [4]
    assert [row["step"] for row in rows if row["member"] == 1 and "evaluation" in row] == [6]
    assert [row["step"] for row in rows if row["member"] == 2 and "evaluation" in row] == [6, 12, 13]
    assert (tmp_path / "whole/samples/000006-member01.png").exists()
    assert not (tmp_path / "whole/samples/000012-member01.png").exists()
    expected, _ = run_alone(breaking(4, 0.1, 0.0), tmp_path / "alone", 4)
    for name, array in expected.items():
        np.testing.assert_allclose(member_arrays(tmp_path / "whole", 0, 2)[name], array, rtol=1e-4, atol=1e-5)
    # what is broken stays broken after a resume, and breaks again where it did if the resume goes before that
    for stop in (5, 10):
        run = Path(shutil.copytree(tmp_path / "whole", tmp_path / f"from{stop}"))
        for step in range(stop + 1, 14):
            shutil.rmtree(run / "checkpoints" / f"{step:08d}")
        fit_population([group(breaking, members)], run, plan, resume=True)
        assert timeless(run) == rows
        assert_same_arrays(*(Checkpoints(r / "checkpoints").restore_arrays()[1] for r in (tmp_path / "whole", run)))


def test_a_population_without_members_left_ends(tmp_path: Path) -> None:
    members = ((3, 0.1, 1.0), (4, 0.1, 1.0))
    outcome = fit_population([group(breaking, members)], tmp_path, PLAN)
    assert outcome.stopped == "nan"
    assert outcome.message == "no member is left: a/loss was not finite at step 7; last good checkpoint: 6"
    assert Checkpoints(tmp_path / "checkpoints").steps() == [6]


def test_a_parameter_that_is_not_finite_is_one_members_matter(tmp_path: Path) -> None:
    def make(seed: int, rate: float, weight: float, bad: float = 0.0) -> Recipe:
        made, hyper = pulled(dense(4), rate, weight)
        # every loss is finite, and what the optimizer makes of it is not
        broken = from_hyper(lambda h, step: optax.sgd(jnp.where(h["rate"] > 1, jnp.inf, h["rate"])), hyper)
        still = Update("a", ("a",), lambda params, inputs: (jnp.mean(inputs.batch["x"] ** 2), LossOutput()))
        players = {name: replace(player, optimizer=broken) for name, player in made.players.items()}
        return Recipe((Stage(Game(players, (still,)), 13, resident(POINTS), hyper=hyper),))

    fit_population([group(make, ((3, 0.1, 0.5), (4, 2.0, 0.5)))], tmp_path, PLAN)
    events = [row for row in timeless(tmp_path) if "event" in row]
    assert [(row["member"], row["message"]) for row in events] == [(1, "a parameter was not finite at step 6")]


def test_the_best_checkpoint_has_the_smallest_mean(tmp_path: Path) -> None:
    fit_population([group(looped)], tmp_path, PLAN)
    checkpoints, rows = Checkpoints(tmp_path / "checkpoints"), timeless(tmp_path)
    means = {}
    for step in (6, 12, 13):
        norms = [row["norm"] for row in rows if row.get("evaluation") == "size" and row["step"] == step]
        assert len(norms) == len(MEMBERS)
        means[step] = np.mean(norms)
        assert checkpoints.score(step) == pytest.approx(means[step])
    assert checkpoints.best() == min(means, key=means.__getitem__)


def test_a_collapse_is_the_members_own(tmp_path: Path) -> None:
    def alarm(rows: Sequence[Mapping[str, Any]]) -> str | None:
        assert len({row["member"] for row in rows}) <= 1
        logged = [row for row in rows if "a/loss" in row]
        return "all alike" if logged and logged[-1]["member"] == 2 and logged[-1]["step"] >= 8 else None

    ours = group(looped)
    ours = replace(ours, recipe=replace(ours.recipe, alarm=alarm))
    assert fit_population([ours], tmp_path, PLAN).stopped == "end"
    events = [row for row in timeless(tmp_path) if "event" in row]
    assert events == [{"step": 8, "event": "collapse", "member": 2, "message": "all alike"}]
    with pytest.raises(ValueError, match="on_collapse is warn, got 'stop'"):
        fit_population([ours], tmp_path, replace(PLAN, on_collapse="stop"))


def test_every_member_starts_from_what_is_given(tmp_path: Path) -> None:
    trained, _ = run_alone(looped(9, 0.1, 0.5), tmp_path / "alone", 9)
    initial = fit(looped(9, 0.1, 0.5), tmp_path / "alone", PLAN, 9, resume=True).state
    (tmp_path / "run").mkdir()
    fit_population([group(looped)], tmp_path / "run", replace(PLAN, save_every=1), initial=initial)
    for number in range(3):
        first = member_arrays(tmp_path / "run", 0, number, 1)["state.params.a.into"]
        np.testing.assert_allclose(first, trained["state.params.a.into"], atol=0.1)
        assert not np.array_equal(first, trained["state.params.a.into"])


@pytest.mark.parametrize(
    ("layout", "calls"),
    [
        (Layout(5, 2, 1), [[0, 1], [2, 3], [4, 4]]),
        (Layout(5, 2, 3), [[0, 1, 2, 3, 4, 4]]),
        (Layout(4, 1, 1), [[0], [1], [2], [3]]),
        (Layout(4, 2, 2), [[0, 1, 2, 3]]),
    ],
)
def test_layouts(layout: Layout, calls: list[list[int]]) -> None:
    assert [layout.indices(call).tolist() for call in range(layout.rounds)] == calls
    for member in range(layout.members):
        call, lane = layout.place(member)
        assert calls[call][lane] == member


def test_light_steps_are_played_together_and_heavy_ones_in_turn() -> None:
    light, heavy = population.WORTH_VMAP_ON_CPU / 2, population.WORTH_VMAP_ON_CPU * 2
    assert population.choose_layout(5, 2, "cpu", light) == Layout(5, 2, 3)
    assert population.choose_layout(5, 2, "cpu", heavy) == Layout(5, 2, 1)
    assert population.choose_layout(5, 2, "cpu", light, convolutional=True) == Layout(5, 2, 1)
    assert population.choose_layout(5, 2, "gpu", heavy, convolutional=True) == Layout(5, 2, 3)
    # no more devices than members, and all of them where nothing was asked for
    assert population.choose_layout(3, None, "cpu", heavy) == Layout(3, 3, 1)
    assert population.choose_layout(20, None, "cpu", heavy) == Layout(20, 8, 1)
    with pytest.raises(ValueError, match="--devices 9: this machine offers 1 to 8"):
        population.choose_layout(20, 9, "cpu", heavy)


@pytest.mark.parametrize("layout", [Layout(3, 2, 1), Layout(3, 2, 2), Layout(3, 1, 3)])
def test_what_is_spread_is_gathered_again(layout: Layout) -> None:
    ours = group(looped)
    program = Program(ours.recipe.stages[0], 1, [m.recipe.stages[0] for m in ours.members])
    stacked = program.gather(program.start([m.seed for m in ours.members]))
    mesh = population.member_mesh(jax.local_devices()[: layout.devices])
    again = population.collect(population.spread(stacked, layout, mesh), layout)
    for one, other in zip(jax.tree.leaves(stacked), jax.tree.leaves(again), strict=True):
        assert one.dtype == other.dtype and bool((one == other).all())
    assert jax.tree.map(jnp.shape, program.abstract()) == jax.tree.map(jnp.shape, stacked)
    # the numbers of each member are its own
    np.testing.assert_allclose(stacked.state.hyper["pull_weight"], [0.0, 0.5, 2.0])


def test_members_with_orthogonal_weights_begin(tmp_path: Path) -> None:
    """Their QR decompositions under one vmap wait for each other for ever, on a machine of two threads."""
    small = "--batch 8 --generator-width 8 --discriminator-width 4 --latent 8 --embedding 4 --features random-conv"
    quick = "--steps 1 --seeds 3 --evaluate-samples 50 --sample-every 0 --evaluate-every 0 --name run"
    found = finish(start("train", "biggan", *small.split(), *quick.split(), cwd=tmp_path), timeout=240)
    assert found.status == 0, found.err
    weights = Checkpoints(tmp_path / "runs" / "run" / "checkpoints").restore_arrays()[1]
    first = [value for name, value in weights.items() if "params.generator" in name and name.endswith("kernel")]
    assert first and all(np.abs(one[0] - one[1]).max() > 0.01 for one in first)


def test_finite_tells_members_apart() -> None:
    tree = {"x": jnp.array([[1.0, 2.0], [jnp.inf, 1.0], [0.0, 0.0]]), "n": jnp.array([1, 2, 3]), "y": jnp.ones(3)}
    np.testing.assert_array_equal(population.finite(tree), [True, False, True])
    tree["y"] = tree["y"].at[2].set(jnp.nan)
    np.testing.assert_array_equal(population.finite(tree), [True, False, False])


def test_programs_are_the_same_text_if_only_numbers_differ() -> None:
    one, other = (looped(seed, rate, 0.5).stages[0] for seed, rate in ((0, 0.1), (1, 0.3)))
    assert lowered(one) == lowered(other)
    assert lowered(one) != lowered(looped(0, 0.1, 0.0).stages[0])
