"""The Dirac-GAN's games against the paper's formulas, and the committed study against tabulated values."""

import json
from dataclasses import replace

import dirac_gan as dirac
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import RESULTS
from dirac_gan import METHODS, PLAYS

from jaxgan.augment import instance_noise
from jaxgan.dynamics import field, spectrum
from jaxgan.games.two_player import two_player
from jaxgan.losses.penalties import r1

H = 0.2


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


def pair(real, imaginary):
    return np.array([complex(real, -imaginary), complex(real, imaginary)])


def penalised(gamma):
    root = np.sqrt(complex(gamma**2 / 4 - 0.25))
    return np.array([-gamma / 2 - root, -gamma / 2 + root])


def found(method, strength):
    game = dirac.make(method, H)
    return spectrum(game, dirac.placed(game, strength, 0.0, 0.0), dirac.batch(method))


@pytest.mark.parametrize(
    ("name", "strength", "expected"),
    [
        ("minimax", 0.0, pair(0, 0.5)),
        ("non-saturating", 0.0, pair(0, 0.5)),
        ("relativistic", 0.0, pair(0, 0.5)),
        ("wgan", 0.0, pair(0, 1)),
        ("wgan-clipping", 0.6, pair(0, 1)),
        # f''(0) sigma^2 +- sqrt(f''(0)^2 sigma^4 - f'(0)^2)
        ("instance-noise", 1.2, pair(-0.36, np.sqrt(0.25 - 0.36**2))),
        ("r1", 0.3, penalised(0.3)),
        ("r2", 0.8, penalised(0.8)),
        ("non-saturating-gp", 0.3, penalised(0.3)),
        ("consensus", 0.6, pair(-0.15, 0.5)),
        ("extragradient", 0.0, pair(-H / 4, 0.5)),
        ("r3gan", 0.3, pair(-0.3, 0.4)),  # both penalties: gamma counts twice
    ],
)
def test_games_of_the_library_have_the_eigenvalues_of_the_formulas(name, strength, expected):
    np.testing.assert_allclose(found(METHODS[name], strength), np.sort_complex(expected), atol=1e-10)
    np.testing.assert_allclose(
        dirac.paired(expected, dirac.field_eigenvalues(METHODS[name].jacobian(strength, H))), expected, atol=1e-12
    )


@pytest.mark.parametrize("method", [METHODS["r1"], replace(METHODS["r3gan"], penalties=(r1,))], ids=["GAN", "RpGAN"])
def test_the_square_that_a_later_paper_misprints(method):
    """R3GAN (arXiv 2501.05441), Lemma B.4, prints sqrt(gamma^2/4 - f'(0)), without the square: 0.691 for 0.477."""
    values = found(method, 0.3)
    np.testing.assert_allclose(values, pair(-0.15, 0.4770), atol=5e-5)
    assert abs(np.max(values.imag) - np.sqrt(0.5 - 0.15**2)) > 0.2


def test_rotation_ends_at_the_critical_gamma():
    below, at, above = (found(METHODS["r1"], gamma) for gamma in (0.99, 1.0, 1.01))
    assert np.max(below.imag) > 0.05 and np.all(above.imag == 0)
    np.testing.assert_allclose(at, [-0.5, -0.5], atol=1e-7)  # a double root halves the digits


@pytest.mark.parametrize("d_steps", PLAYS.values())
def test_closed_forms_of_a_step_are_products_of_half_steps(d_steps):
    jacobian = np.array([[-0.3, -0.7], [0.4, -1.1]])
    generator, discriminator = np.eye(2), np.eye(2)
    generator[0] += H * jacobian[0]
    discriminator[1] += H * jacobian[1]
    one = np.linalg.matrix_power(discriminator, d_steps) @ generator if d_steps else np.eye(2) + H * jacobian
    exact = dirac.step_eigenvalues(jacobian.tolist(), H, d_steps)
    np.testing.assert_allclose(np.sort_complex(exact), np.sort_complex(np.linalg.eigvals(one)), atol=1e-12)


def test_the_operator_and_the_steps_of_five_moves_of_d():
    method = METHODS["r2"]
    game, seen = dirac.make(method, H), dirac.batch(method)
    ours = np.linalg.eigvals(np.asarray(dirac.operator(game, 5, seen)(dirac.placed(game, 0.3, 0.0, 0.0))))
    exact = dirac.step_eigenvalues(method.jacobian(0.3, H), H, 5)
    np.testing.assert_allclose(ours, dirac.paired(ours, exact), atol=1e-12)
    np.testing.assert_allclose(np.max(np.abs(ours)), np.sqrt(0.97**0 * (1 - 0.06) ** 5), atol=1e-12)


@pytest.mark.parametrize(
    ("name", "strength", "play"), [("wgan-clipping", 0.9, 5), ("dragan", 0.4, 1), ("consensus", 0.7, 0)]
)
def test_steps_of_the_library_are_those_of_the_formulas(name, strength, play):
    method = METHODS[name]
    bound = strength if method.clipped else np.inf
    game = dirac.make(method, H)
    start = dirac.placed(game, strength, 1.0, min(1.0, bound))
    path = dirac.trajectory(game, play, 40, dirac.batch(method))(start)
    expected = dirac.iterate(method.velocity, strength, H, play, 40, bound)
    np.testing.assert_allclose(path, expected, rtol=1e-9, atol=1e-12)
    assert np.ptp(expected, axis=0).min() > 0.1


def test_noise_by_quadrature_is_noise_by_draws():
    method, sigma, n = METHODS["instance-noise"], 0.7, 50_000
    exact = dirac.make(method, H)
    drawn = two_player(
        exact.players["generator"],
        exact.players["discriminator"],
        method.loss,
        prior=lambda key, n: jnp.zeros((n, 1)),
        observation="point",
        show=lambda examples, key, inputs: instance_noise(examples, key, inputs.hyper["strength"]),
    )
    state = dirac.placed(exact, sigma, 0.9, -1.3)
    expected = field(exact, state, dirac.batch(method))
    np.testing.assert_allclose(field(drawn, state, {"point": jnp.zeros((n, 1))}), expected, atol=5 / np.sqrt(n))
    v1, v2 = method.velocity(0.9, -1.3, sigma, H)
    np.testing.assert_allclose(expected, [-v2, v1], rtol=1e-10)
    plain = dirac.unregularised(0.9, -1.3)
    assert abs(plain[1] - v2) > 0.1


# distance from the origin after 500 steps, simultaneous, alternating 1 and alternating 5, to the digits given
TABULATED = {
    "minimax GAN": (3.10, 1.42, 1.85),
    "non-saturating GAN": (0.640, 0.284, 0.139),
    "WGAN with clipping, bound=1": (1.00, 1.02, 0.917),
    "WGAN-GP, gamma=0.7": (1.80, 1.22, 0.716),
    "R1, gamma=0.3": (2.6e-6, 2.3e-7, 9.3e-34),
    "R1, gamma=1": (9.5e-22, 7.5e-17, 5.1e-12),
    "non-saturating GAN + zero-centred GP, gamma=0.3": (2.2e-6, 1.5e-7, 4.0e-34),
}


def test_the_halved_gradient_of_the_notebook_has_the_same_eigenvalues_and_other_orbits():
    for velocity, bound in ((dirac.consensual(), 10.0), (dirac.consensual(0.5), None)):
        h = 1e-6
        slopes = [(np.array(velocity(*(h * u), 1.0, H)) - velocity(*(-h * u), 1.0, H)) / (2 * h) for u in np.eye(2)]
        np.testing.assert_allclose(
            np.sort_complex(np.linalg.eigvals(np.transpose(slopes))), pair(-0.25, 0.5), atol=1e-9
        )
        last = np.hypot(*dirac.iterate(velocity, 1.0, H, 5, 500)[-1])
        assert last > bound if bound else last < 1e-30


def committed():
    return json.loads((RESULTS / "dirac_gan.json").read_text())


def test_the_committed_study_has_the_tabulated_distances():
    measured = {(row["method"], row["metric"]): row["measured"] for row in committed()["rows"]}
    for method, distances in TABULATED.items():
        for play, distance in zip(PLAYS, distances, strict=True):
            ours = measured[method, f"distance after 500 steps, {play}"]
            # a little more than half of the last digit: 9.25e-34 may be rounded either way
            digit = 10.0 ** (np.floor(np.log10(distance)) - (1 if distance < 1e-3 else 2))
            assert abs(ours - distance) <= 0.51 * digit, (method, play, ours)


def test_the_committed_study_agrees_with_its_checks():
    details = committed()["details"]
    with_values = [entry for entry in details["eigenvalues"] if entry["ours"] is not None]
    assert {entry["method"] for entry in details["eigenvalues"] if entry["ours"] is None} == {
        "WGAN-GP, gamma=0.7",
        "DRAGAN, gamma=0.7",
    }
    assert len(with_values) == 4 * len({entry["method"] for entry in with_values}) >= 4 * 13
    for entry in with_values:
        np.testing.assert_allclose(entry["ours"], entry["closed form"], atol=1e-6, err_msg=str(entry))
    for entry in details["distances"]:
        floor = 1e-15 if entry["method"].startswith("instance noise") else 0.0
        np.testing.assert_allclose(entry["ours"], entry["NumPy"], rtol=1e-6, atol=floor, err_msg=str(entry))


def test_the_committed_verdicts_are_the_paper_s():
    verdicts = committed()["details"]["verdicts"]
    regularised = (
        "R1",
        "R2",
        "instance noise",
        "consensus",
        "extragradient",
        "non-saturating GAN +",
        "relativistic GAN +",
    )
    for method, verdict in verdicts.items():
        assert (verdict == "converges") == method.startswith(regularised), (method, verdict)
    for method in ("minimax GAN", "WGAN", "WGAN with clipping, bound=1", "WGAN-GP, gamma=0.7", "DRAGAN, gamma=0.7"):
        assert verdicts[method] == "does not converge"


def parsed(*arguments):
    parser = dirac.options()
    flags = parser.parse_args(arguments)
    return dirac.chosen(parser, flags), flags


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "r3"], "there is no method 'r3'; methods are minimax, "),
        (["--method", "r1", "--strength", "0.1,-0.3"], "--strength is finite and not negative, got -0.3"),
        (["--method", "r1", "--strength", "much"], "--strength takes numbers, got 'much'"),
        (["--method", "minimax,wgan", "--strength", "1"], "--strength: minimax, wgan: none has one"),
        (["--method", "wgan-clipping", "--strength", "0"], "a bound of the weights is positive, got 0"),
        (["--step-size", "-0.2"], "--step-size is finite and not negative, got -0.2"),
        (["--step-size", "0"], "--step-size is one positive number, got '0'"),
        (["--step-size", "nan"], "--step-size is finite and not negative, got nan"),
        (["--seeds", "3"], "--seeds: nothing here is random"),
    ],
)
def test_a_mistake_ends_with_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        parsed(*arguments)
    assert stopped.value.code == 2 and message in capsys.readouterr().err.splitlines()[-1]


def test_a_choice_is_not_the_study():
    (strengths, h), flags = parsed("--method", "r1,minimax", "--strength", "0,0.4", "--step-size", "0.1")
    assert strengths == {"r1": (0.0, 0.4), "minimax": (0.0,)} and h == 0.1 and not dirac.whole(flags)
    (strengths, h), flags = parsed()
    assert list(strengths) == list(METHODS) and h == 0.2 and dirac.whole(flags)
