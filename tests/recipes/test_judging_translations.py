"""How translations are shown and judged, with translators and a judge that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.config import Options
from jaxgan.data.domains import Domains
from jaxgan.data.images import from_arrays
from jaxgan.data.pairs import aligned
from jaxgan.evaluation.features import FeatureNet
from jaxgan.evaluation.translation import compare
from jaxgan.recipes import judging_translations as translating

RANDOM = np.random.default_rng(0)
LABEL = np.arange(130) % 3


def marked(n: int = 130) -> np.ndarray:
    """Pictures [n, 8, 12, 1] whose class is the third of the columns that is bright."""
    image = RANDOM.integers(0, 60, (n, 8, 12, 1), np.uint8)
    for i in range(n):
        start = 4 * (i % 3)
        image[i, :, start : start + 4] += 150
    return image


def thirds(images: jax.Array) -> jax.Array:
    return jnp.stack([images[:, :, 4 * k : 4 * k + 4].mean(axis=(1, 2, 3)) for k in range(3)], axis=1)


JUDGE = FeatureNet("thirds", thirds, lambda x: jax.nn.softmax(50 * thirds(x)), "0" * 64)


@pytest.fixture(autouse=True)
def judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translating, "feature_net", lambda features, images: JUDGE)


def shifted(columns: int):
    return lambda state, images, key: jnp.roll(images, columns, axis=2)


def test_all_pictures_are_translated_in_order_whatever_the_last_batch_holds() -> None:
    images = marked()
    assert len(images) % translating.BATCH
    made = translating.translated(shifted(1), None, images, jax.random.key(0))
    np.testing.assert_array_equal(made, np.roll(images, 1, axis=2))
    few = translating.translated(shifted(2), None, images[:7], jax.random.key(0))
    np.testing.assert_array_equal(few, np.roll(images[:7], 2, axis=2))


def test_some_are_spread_over_the_set() -> None:
    images = np.arange(101, dtype=np.uint8).reshape(101, 1, 1, 1)
    assert translating.some(images, 5).ravel().tolist() == [0, 25, 50, 75, 100]
    assert len(translating.some(images, 500)) == 101


def test_pairs_are_measured_on_the_test_part_against_right_answers() -> None:
    image, test = marked(30), marked(60)
    pairs = aligned(from_arrays("thirds", image, LABEL[:30], test, LABEL[:60]), "negative")
    undone = translating.pair_evaluation(pairs, Options(evaluate_samples=50), lambda s, x, k: -x)
    row = undone(None, jax.random.key(0))
    assert row["l1"] == 0 and row["accuracy"] == row["accuracy_of_targets"] == 1 and row["sharpness"] == 1
    assert row["frechet_distance"] < 1e-6 and row["n_fake"] == 50 and row["split"] == "test"
    left = translating.pair_evaluation(pairs, Options(evaluate_samples=50), lambda s, x, k: x)(None, jax.random.key(0))
    expected = compare(translating.some(255 - test, 50), translating.some(test, 50))
    assert left["l1"] == pytest.approx(expected["l1"]) and left["l1"] > 0.3
    assert left["accuracy"] < 0.5 and left["frechet_distance"] > 0.1


def domains(same: bool = True) -> Domains:
    """Domain b is a, one third of the columns further to the right: its class is the next one."""
    a, b = marked(130), np.roll(marked(130), 4, axis=2)
    test_a = marked(60)
    parts = (
        from_arrays("a", a, LABEL, test_a, LABEL[:60]),
        from_arrays("b", b, LABEL, np.roll(test_a, 4, axis=2), LABEL[:60]),
    )
    return Domains("a-to-b", *parts, aligned=same, fingerprint="")


def test_the_two_ways_are_measured_each_by_the_judge_of_its_target() -> None:
    evaluate = translating.domain_evaluation(domains(), Options(evaluate_samples=60), shifted(4), shifted(-4))
    row = evaluate(None, jax.random.key(0))
    assert row["l1_ab"] == row["l1_ba"] == row["l1"] == row["cycle_l1_ab"] == row["cycle_l1"] == 0
    assert row["frechet_distance_ab"] < 1e-6
    # the judge takes the place for the class: right in a as it is, in b never
    assert row["accuracy_ba"] == 1 and row["accuracy_before_ba"] == 0
    assert row["accuracy_ab"] == 0 and row["accuracy_before_ab"] == 1
    assert row["accuracy"] == pytest.approx(0.5)


def test_a_way_that_does_not_come_back_shows_in_the_cycle() -> None:
    evaluate = translating.domain_evaluation(domains(), Options(evaluate_samples=60), shifted(4), shifted(0))
    row = evaluate(None, jax.random.key(0))
    assert row["l1_ab"] == 0 and row["l1_ba"] > 0.2 and row["cycle_l1"] > 0.2
    one_way = translating.domain_evaluation(domains(False), Options(), shifted(4))(None, jax.random.key(0))
    assert "cycle_l1" not in one_way and "l1" not in one_way and not any(name.endswith("_ba") for name in one_way)


def test_a_test_part_that_is_too_small_leaves_training_pictures_which_have_no_right_answers() -> None:
    few = [from_arrays(name, marked(30), LABEL[:30], marked(6), LABEL[:6]) for name in "ab"]
    pair = Domains("few", *few, aligned=True, fingerprint="")
    row = translating.domain_evaluation(pair, Options(evaluate_samples=20), shifted(4), shifted(-4))(
        None, jax.random.key(0)
    )
    assert row["split"] == "train" and row["n_real"] == 20 and {"frechet_distance_ba", "cycle_l1"} <= set(row)
    assert not {"l1", "psnr", "sharpness"} & {name.partition("_")[0] for name in row}


def test_domains_of_two_sizes_are_counted_each() -> None:
    many = from_arrays("many", marked(30), LABEL[:30], marked(24), LABEL[:24])
    for tests, split, counted in ((12, "test", 12), (6, "train", 20)):
        fewer = from_arrays("fewer", marked(30), LABEL[:30], marked(tests), LABEL[:tests])
        pair = Domains("two", many, fewer, aligned=False, fingerprint="")
        row = translating.domain_evaluation(pair, Options(evaluate_samples=20), shifted(4))(None, jax.random.key(0))
        assert (row["n_fake"], row["n_real"], row["split"]) == (20, counted, split)


def test_classes_are_counted_in_all_others_and_never_in_their_own() -> None:
    images = from_arrays("thirds", marked(40), LABEL[:40], marked(60), LABEL[:60])

    def into(domain: int):
        def way(state, x, key):
            own = jnp.argmax(thirds(x), axis=1)
            turn = jax.vmap(lambda one, columns: jnp.roll(one, columns, axis=1))
            return turn(x, 4 * (domain - own))

        return way

    ways = {str(k): into(k) for k in range(3)}
    row = translating.class_evaluation(images, Options(evaluate_samples=120), ways)(None, jax.random.key(0))
    assert row["accuracy"] == row["accuracy_worst"] == 1 and row["cycle_l1"] == 0 and row["n_fake"] == 60
    # one of the three does nothing: none of the others' pictures come out as its class
    row = translating.class_evaluation(images, Options(evaluate_samples=120), {**ways, "1": shifted(0)})(
        None, jax.random.key(0)
    )
    assert row["accuracy_worst"] == 0 and row["accuracy"] == pytest.approx(2 / 3)


def test_sheets_hold_source_translation_and_answer() -> None:
    image = marked(30)
    pairs = aligned(from_arrays("thirds", image, LABEL[:30]), "negative")
    picture = translating.pair_picture(pairs, lambda s, x, k: -x)(None, jax.random.key(0))
    assert picture.dtype == np.uint8 and picture.shape[-1] == 1
    # a grid has a line of one pixel between its pictures
    rows = translating.SHOWN // 4
    scale = picture.shape[0] // (9 * rows - 1)
    small = picture[::scale, ::scale]
    for column, expected in enumerate((255 - image[0], image[0], image[0], np.zeros_like(image[0]))):
        np.testing.assert_array_equal(small[:8, 13 * column : 13 * column + 12], expected)
