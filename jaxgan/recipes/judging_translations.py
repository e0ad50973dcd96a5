"""How systems that translate pictures are judged, and shown: pairs, two domains, and many classes."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import spearmanr

from jaxgan.arrays import Array, Key, to_float, to_uint8
from jaxgan.config import Options
from jaxgan.data.domains import Domains
from jaxgan.data.images import Images
from jaxgan.data.pairs import Pairs
from jaxgan.data.pixels import Lazy, fingerprint
from jaxgan.evaluation import moments as moments_of
from jaxgan.evaluation.features import FeatureNet, features, probabilities
from jaxgan.evaluation.frechet import frechet_distance, moments
from jaxgan.evaluation.translation import compare
from jaxgan.game import State
from jaxgan.recipes.feature_nets import feature_net
from jaxgan.recipes.pictures import apart, beside, sheet
from jaxgan.training.recipe import Evaluation, Translate

# pictures on a sheet
SHOWN = 16
BATCH = 100
# test pictures below which the training part is measured: the crops of one photograph have one
FEWEST = 10


def translated(translate: Translate, state: State, images: np.ndarray | Lazy, key: Key) -> np.ndarray:
    """uint8 pictures [n, ...] as uint8 pictures, a batch at a time from one compiled program."""
    program, made = _program(translate), []
    for start in range(0, len(images), BATCH):
        part = np.stack([images[i] for i in range(start, min(start + BATCH, len(images)))])
        padded = np.pad(part, ((0, min(BATCH, len(images)) - len(part)), *[(0, 0)] * 3))
        made.append(np.asarray(program(state, padded, jax.random.fold_in(key, start)))[: len(part)])
    return np.concatenate(made)


# a system of 40 attributes has 80 ways, and each evaluation goes through all of them
@lru_cache(maxsize=128)
def _program(translate: Translate) -> Callable[[State, Any, Key], Array]:
    return jax.jit(lambda state, images, key: to_uint8(translate(state, to_float(images), key)))


def some(images: np.ndarray | Lazy, n: int) -> np.ndarray:
    """At most n of the pictures, uint8 [m, ...], evenly spread over the set."""
    places = np.linspace(0, len(images) - 1, min(n, len(images))).astype(int)
    return np.stack([images[i] for i in places])


def held_out(pairs: Pairs) -> tuple[Any, Any, Any, bool]:
    """(sources, targets, labels or None, True) of the test part, or of the training part and False if it is too small.

    See `FEWEST`.
    """
    if pairs.test_source is None or len(pairs.test_source) < FEWEST:
        return pairs.source, pairs.target, pairs.label, False
    return pairs.test_source, pairs.test_target, pairs.test_label, True


def targets(pairs: Pairs) -> Images:
    """The right answers as a set of images of their own."""
    image = pairs.target
    identity = fingerprint(image, pairs.label) if isinstance(image, np.ndarray) else f"{pairs.fingerprint}-target"
    return Images(
        pairs.target_name or f"{pairs.name}-target",
        image,
        pairs.label,
        pairs.test_target,
        pairs.test_label,
        pairs.classes,
        identity,
        pairs.note,
        pairs.resizer,
    )


def pair_evaluation(pairs: Pairs, options: Options, translate: Translate) -> Evaluation:
    """The evaluation "translation" against right answers, of test pictures where there are any.

    `compare`'s numbers; `frechet_distance` between what was made and the right answers; and where these have
    labels, `accuracy`: how often their classifier says of a made picture what it is, beside `accuracy_of_targets`.
    """
    judge = cache(lambda: feature_net(options.features, targets(pairs)))

    def evaluate(state: State, key: Key) -> Mapping[str, Any]:
        source, target, label, tested = held_out(pairs)
        n = min(options.evaluate_samples, len(source))
        sources, right = some(source, n), some(target, n)
        made = translated(translate, state, sources, key)
        told = None if label is None else label[np.linspace(0, len(label) - 1, n).astype(int)]
        found = {**compare(made, right), "frechet_distance": distance(judge(), made, right)}
        if told is not None and judge().classify is not None:
            for name, images in (("accuracy", made), ("accuracy_of_targets", right)):
                found[name] = accuracy(judge(), images, told)
        return found | said(judge().name, judge().identity, pairs.name, n, tested, pairs.note)

    return evaluate


def distance(judge: FeatureNet, made: np.ndarray, real: np.ndarray) -> float:
    """The Frechet distance of two sets of uint8 pictures on a net's features."""
    return frechet_distance(moments(features(judge, made)), moments(features(judge, real)))


def accuracy(judge: FeatureNet, images: np.ndarray, label: np.ndarray) -> float:
    """The share of pictures of which a classifier says what they are."""
    return float(np.mean(probabilities(judge, images).argmax(axis=-1) == label))


def said(features: str, identity: str, name: str, n: int, tested: bool, note: str) -> dict[str, Any]:
    """How an evaluation was made: by which feature net, of which identity, on how many pictures of which set."""
    row: dict[str, Any] = {"n_real": n, "n_fake": n, "split": "test" if tested else "train", "reference": name}
    row |= {"features": features, "features_hash": identity[:16]}
    return row | ({"note": note} if note else {})


def pair_picture(pairs: Pairs, translate: Translate) -> Callable[[State, Key], np.ndarray]:
    """Sheets of source, output and right answer."""

    def picture(state: State, key: Key) -> np.ndarray:
        source, target, *_ = held_out(pairs)
        sources = some(source, SHOWN)
        return beside(sources, translated(translate, state, sources, key), some(target, SHOWN))

    return picture


def domain_evaluation(domains: Domains, options: Options, to_b: Translate, to_a: Translate | None = None) -> Evaluation:
    """The evaluation "translation" of two domains, on test pictures where there are any; see `of_direction`.

    n_fake and n_real count what was measured from a to b; ``split`` is "test" where both domains were held out.
    Each number ends in ``_ab`` or ``_ba``, and the mean of the two ways is given without an ending: `to_a` is None
    for systems that go one way only. With both, ``cycle_l1``: the mean absolute difference, of levels in [0, 1],
    between a picture and what comes back from the other domain.
    """
    judges = {
        "a": cache(lambda: feature_net(options.features, domains.a)),
        "b": cache(lambda: feature_net(options.features, domains.b)),
    }
    ways: dict[str, tuple[Images, Images, Translate, Translate | None]] = {"ab": (domains.a, domains.b, to_b, to_a)}
    if to_a is not None:
        ways["ba"] = (domains.b, domains.a, to_a, to_b)

    def evaluate(state: State, key: Key) -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        for way, (source, target, there, back) in ways.items():
            row = of_direction(
                judges[way[1]](), source, target, there, back, _aligned(domains), options.evaluate_samples, state, key
            )
            found |= {f"{name}_{way}": value for name, value in row.items()}
        shared = [name.removesuffix("_ab") for name in found if name.endswith("_ab")]
        means = {name: float(np.mean([found[f"{name}_{way}"] for way in ways])) for name in shared}
        tested = has_test(domains.a) and has_test(domains.b)
        n_fake, n_real = (min(options.evaluate_samples, len(_held_out(one)[0])) for one in (domains.a, domains.b))
        judge = judges["b"]()
        how = said(judge.name, judge.identity, domains.name, n_fake, tested, domains.note)
        return means | found | how | {"n_real": n_real}

    return evaluate


def of_direction(
    judge: FeatureNet,
    source: Images,
    target: Images,
    there: Translate,
    back: Translate | None,
    aligned: bool,
    most: int,
    state: State,
    key: Key,
) -> dict[str, float]:
    """What becomes of one domain's pictures in another.

    ``frechet_distance`` to the target domain's pictures, and ``frechet_distance_before``, untranslated. Where both
    domains have the same classes: ``accuracy`` of the target domain's classifier, which never saw the
    source domain, on translated pictures, and ``accuracy_before`` on the pictures as they are. With `back`,
    ``cycle_l1``. For `aligned` test parts, `compare`'s numbers against the right answers.
    """
    images, label = _held_out(source)
    others, _ = _held_out(target)
    chosen = some(images, most)
    made = translated(there, state, chosen, key)
    right = some(others, most)
    found = {
        "frechet_distance": distance(judge, made, right),
        "frechet_distance_before": distance(judge, _like(chosen, right), right),
    }
    if label is not None and judge.classify is not None and source.classes == target.classes:
        told = label[np.linspace(0, len(label) - 1, len(chosen)).astype(int)]
        found["accuracy"] = accuracy(judge, made, told)
        found["accuracy_before"] = accuracy(judge, _like(chosen, right), told)
    if back is not None:
        again = translated(back, state, made, jax.random.fold_in(key, 1))
        found["cycle_l1"] = float(np.abs(again.astype(np.float64) - chosen).mean() / 255.0)
    if aligned:
        found |= {name: value for name, value in compare(made, right).items() if not name.endswith("_error")}
    return found


def _held_out(images: Images) -> tuple[Any, Any]:
    """(pictures, labels or None) of the test part, or of the training part where that is too small to be measured."""
    return (images.test_image, images.test_label) if has_test(images) else (images.image, images.label)


def _aligned(domains: Domains) -> bool:
    """Whether picture i of what is measured of a and of b show one thing."""
    return domains.aligned and has_test(domains.a) and has_test(domains.b)


def has_test(images: Images) -> bool:
    """Whether there is a test part that is large enough to be measured (`FEWEST`)."""
    return images.test_image is not None and len(images.test_image) >= FEWEST


def _like(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    return images if images.shape[3] == others.shape[3] else images.repeat(others.shape[3], axis=3)


def domain_picture(
    domains: Domains, to_b: Translate, to_a: Translate | None = None
) -> Callable[[State, Key], np.ndarray]:
    """Sheets of a picture, its translation and, where there is a way back, what comes back from it: a's, then b's.

    For aligned domains a further column has the right answer.
    """
    ways: Sequence[tuple[Images, Images, Translate, Translate | None]]
    ways = [(domains.a, domains.b, to_b, to_a)]
    if to_a is not None:
        ways = [*ways, (domains.b, domains.a, to_a, to_b)]

    def picture(state: State, key: Key) -> np.ndarray:
        groups = []
        for source, target, there, back in ways:
            chosen = some(_held_out(source)[0], SHOWN // len(ways))
            made = translated(there, state, chosen, key)
            columns = [chosen, made]
            if back is not None:
                columns.append(translated(back, state, made, key))
            if _aligned(domains):
                columns.append(some(_held_out(target)[0], SHOWN // len(ways)))
            groups.append(columns)
        return beside(*[np.concatenate(column) for column in zip(*groups, strict=True)])

    return picture


def class_evaluation(images: Images, options: Options, ways: Mapping[str, Translate]) -> Evaluation:
    """The evaluation "translation" of classes into each other, on test pictures where there are any.

    ``accuracy``: the share of translated pictures that the data set's classifier takes for the class into which they
    were brought, over all pictures and all *other* classes; ``accuracy_worst``, of the class for which it is least.
    ``cycle_l1``: between a picture and what comes back from the other class, of levels in [0, 1].
    ``content_slant`` and ``content_thickness``: how much of the handwriting survives: the rank correlation, over
    pictures, of a moment (evaluation.moments) of a picture and of its translation, the mean over classes.
    """
    judge = cache(lambda: feature_net(options.features, images))

    def evaluate(state: State, key: Key) -> Mapping[str, Any]:
        all_images, all_labels = _held_out(images)
        # each picture becomes all others
        n = max(2, min(options.evaluate_samples // max(1, len(ways) - 1), len(all_images)))
        chosen = some(all_images, n)
        label = all_labels[np.linspace(0, len(all_labels) - 1, n).astype(int)]
        shares, survived, returned = [], [], []
        for domain, way in enumerate(ways.values()):
            sources, labels = chosen[label != domain], label[label != domain]
            if not len(sources):
                continue
            made = translated(way, state, sources, key)
            if judge().classify is not None:
                shares.append(accuracy(judge(), made, np.full(len(made), domain)))
            survived.append([_rank_correlation(moment(sources), moment(made)) for moment in (slants, thicknesses)])
            for own, one in enumerate(ways.values()):
                if (labels == own).any():
                    again = translated(one, state, made[labels == own], key)
                    returned.append(np.abs(again.astype(np.float64) - sources[labels == own]).mean(axis=(1, 2, 3)))
        content = np.nanmean(np.asarray(survived), axis=0)
        found = {
            "cycle_l1": float(np.concatenate(returned).mean() / 255.0),
            "content_slant": float(content[0]),
            "content_thickness": float(content[1]),
        }
        # a feature net that names no classes says nothing of them
        found |= {"accuracy": float(np.mean(shares or [np.nan])), "accuracy_worst": float(np.min(shares or [np.nan]))}
        return found | said(judge().name, judge().identity, images.name, n, has_test(images), images.note)

    return evaluate


def slants(images: np.ndarray) -> np.ndarray:
    return np.asarray(moments_of.slant(to_float(jnp.asarray(images))))


def thicknesses(images: np.ndarray) -> np.ndarray:
    return np.asarray(moments_of.thickness(to_float(jnp.asarray(images))))


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(spearmanr(a, b).statistic)


def class_picture(images: Images, ways: Mapping[str, Translate]) -> Callable[[State, Key], np.ndarray]:
    """Sheets with a row for each of some pictures: itself, and what it becomes in each of at most ten classes."""

    def picture(state: State, key: Key) -> np.ndarray:
        chosen = some(_held_out(images)[0], 10)
        made = [translated(way, state, chosen, key) for way in list(ways.values())[:10]]
        return sheet([apart(one, others) for one, others in zip(chosen, np.stack(made, axis=1), strict=True)])

    return picture
