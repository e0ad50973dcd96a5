import jax
import numpy as np
from contract import over_seeds
from play import last, of_each, one, play

from jaxgan.config import Options, changed
from jaxgan.data import toy
from jaxgan.recipes import ring
from jaxgan.training.program import Program


def stage(steps: int):
    config = changed(ring.PRESETS["cpu"].config, {"generator_width": 4, "discriminator_width": 4})
    return ring.make(config, Options(steps=steps, batch=4, data="ring"), toy.ring()).stages[0]


def test_seeds_are_those_of_single_runs():
    seen = list(play(stage(5), seeds=2, pause=3))
    assert [step for step, _ in seen] == [0, 3, 5]
    alone = Program(stage(5), 1)
    carry = alone.advance(alone.start([1]), 0, 5)
    expected = jax.tree.leaves(carry.state.params)
    for a, b in zip(jax.tree.leaves(one(seen[-1][1], 1).params), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_results_are_stacked_over_seeds():
    states = last(stage(2), seeds=3)
    sums = of_each(lambda s: sum(x.sum() for x in jax.tree.leaves(s.params)), states)
    assert sums.shape == (3,) and len(np.unique(sums)) == 3
    row = over_seeds("a", "sum", [1.0, 2.0, 6.0])
    assert row.measured == 3.0 and np.isclose(row.uncertainty, np.sqrt(7 / 3)) and row.n_seeds == 3
    assert over_seeds("a", "sum", [2.0]).uncertainty is None
