import numpy as np
import r3gan_ablation

from jaxgan.config import Options
from jaxgan.data import images


def curve(modes: float, divergence: float, step: int) -> list[dict[str, float]]:
    return [{"step": 1, "modes": 9, "reverse_kl": 3.0}, {"step": step, "modes": modes, "reverse_kl": divergence}]


def test_a_seed_that_broke_has_no_modes_and_no_divergence():
    trial = r3gan_ablation.TRIALS[1]
    found = {0: curve(900, 0.5, 8), 1: curve(800, 0.7, 8), 2: curve(700, 9.0, 4)}
    modes, best, divergence, finite = r3gan_ablation.rows_of(trial, "paper", found, 8)
    assert (best.metric, best.measured, best.published) == ("modes, best", 800.0, None)
    np.testing.assert_allclose(modes.measured, (900 + 800 + 0) / 3)
    np.testing.assert_allclose(divergence.measured, 0.6)
    assert (modes.n_seeds, divergence.n_seeds, finite.measured) == (3, 2, 2.0)
    assert (modes.published, divergence.published, modes.source) == (693.0, 0.9270, r3gan_ablation.PAPER)
    # all of them: nothing is pending, and nothing is taken from an earlier moment
    modes, _, finite = r3gan_ablation.rows_of(trial, "cpu", {0: curve(700, 9.0, 4)}, 8)
    assert (modes.measured, finite.measured, modes.published) == (0.0, 0.0, None)


def test_rows_differ_in_loss_and_penalties_alone():
    data = images.from_arrays("grey", np.zeros((9, 8, 8), np.uint8), np.arange(9) % 3)
    protocol = r3gan_ablation.Protocol("digits", 2, 2, 2, 1, 2, 4, gamma=3.0, learning_rate=0.01, samples=4)
    hypers = [
        r3gan_ablation.recipe_of(trial, protocol, Options(batch=2, steps=2), data).stages[0].hyper
        for trial in r3gan_ablation.TRIALS
    ]
    assert [(h["r1_weight"], h["r2_weight"]) for h in hypers] == [(1.5, 1.5), (1.5, 1.5), (1.5, 0.0), (1.5, 0.0)]
    assert [trial.loss for trial in r3gan_ablation.TRIALS] == ["relativistic", "non_saturating"] * 2
    assert all({**h, "r2_weight": 0.0} == {**hypers[0], "r2_weight": 0.0} for h in hypers)
