"""Attributes as domains: what a picture has or has not, by what its data set says or by its strokes.

`choose` reads the words of ``--attributes``, `attribute_evaluation` judges what was made of pictures.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.arrays import Key, to_float
from jaxgan.config import Options, RequestError
from jaxgan.data.images import Images, listed
from jaxgan.data.pixels import Lazy, digest_of, identity, in_parts
from jaxgan.evaluation.features import probabilities
from jaxgan.evaluation.moments import ATTRIBUTES, SCORES
from jaxgan.game import State
from jaxgan.recipes.feature_nets import feature_net
from jaxgan.recipes.judging_translations import accuracy, has_test, said, some, translated
from jaxgan.training.recipe import Evaluation, Translate


@dataclass(frozen=True)
class Judge:
    """`tells` of uint8 pictures [n, height, width, channel] whether they have something, [n], or NaN; who it is."""

    tells: Callable[[np.ndarray], np.ndarray]
    name: str
    identity: str


@dataclass(frozen=True)
class Way:
    """What a picture is to become: these values, 0 or 1, in these columns of its attributes, the others as before."""

    columns: tuple[int, ...]
    values: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Chosen:
    """Some attributes of a set of images.

    images: with these attributes, in this order, and no others.
    ways: into what a picture can be brought, by name: NAME and not-NAME, and of attributes that exclude each other NAME
        alone, which takes the others away.
    thresholds: of attributes that are measured, by name: the score above which a picture has it; None of others.
    """

    images: Images
    ways: Mapping[str, Way]
    thresholds: Mapping[str, float | None]


def choose(images: Images, words: Sequence[str]) -> Chosen:
    """The attributes that ``--attributes`` names, NAME or NAME/NAME/... for some that exclude each other.

    Those of the data, or where they have none of that name, one of `evaluation.moments.ATTRIBUTES`, measured: the half
    of the training pictures with more of it has it.
    RequestError for a name that is neither or is given twice, and for what all training pictures have, or none.
    """
    # a name of the data may have a stroke itself
    groups = [(word,) if word in images.attributes else tuple(word.split("/")) for word in words]
    names = [name for group in groups for name in group]
    for name in names:
        if not name:
            raise RequestError(f"--attributes {' '.join(words)}: between two strokes there is a name")
        if names.count(name) > 1:
            raise RequestError(f"--attributes names {name} twice")
        if name not in images.attributes and name not in ATTRIBUTES:
            there = f"the attributes {listed(images.attributes)}" if images.attributes else "no attributes of its own"
            raise RequestError(
                f"--attributes {name}: {images.name} has {there}, and measured are {', '.join(ATTRIBUTES)}"
            )
    ways: dict[str, Way] = {}
    for group in groups:
        columns = tuple(names.index(name) for name in group)
        own = {name: Way(columns, tuple(int(other == name) for other in group)) for name in group}
        own |= {f"not-{group[0]}": Way(columns, (0,))} if len(group) == 1 else {}
        if twice := [name for name in own if name in ways]:
            raise RequestError(f"--attributes: {twice[0]} would mean two things; rename one of the data's attributes")
        ways |= own
    train, test = [], []
    thresholds: dict[str, float | None] = {}
    for name in names:
        has, test_has, thresholds[name] = _of_name(images, name)
        if len(has) and has.min() == has.max():
            raise RequestError(f"--attributes {name}: {'all' if has.min() else 'no'} pictures of {images.name} have it")
        train.append(has)
        test.append(test_has)
    tests = None if images.test_image is None else np.stack([one for one in test if one is not None], axis=1)
    chosen = replace(images, attribute=np.stack(train, axis=1), test_attribute=tests, attributes=tuple(names))
    return Chosen(chosen, ways, thresholds)


def _of_name(images: Images, name: str) -> tuple[np.ndarray, np.ndarray | None, float | None]:
    """One attribute of the training and the test pictures, uint8 [n], and the threshold if it was measured."""
    if name in images.attributes and images.attribute is not None:
        k, test = images.attributes.index(name), images.test_attribute
        return images.attribute[:, k], None if test is None else test[:, k], None
    train = _scores(name, images.image)
    limit = float(np.median(train)) if len(train) else 0.0
    test_scores = None if images.test_image is None else _scores(name, images.test_image)
    return (
        (train > limit).astype(np.uint8),
        None if test_scores is None else (test_scores > limit).astype(np.uint8),
        limit,
    )


def _scores(name: str, images: np.ndarray | Lazy) -> np.ndarray:
    """How much of a measured attribute pictures have: float [n]."""
    moment, sign = ATTRIBUTES[name]
    parts = [np.asarray(SCORES[moment](to_float(jnp.asarray(part)))) for part in in_parts(images)]
    return sign * np.concatenate([np.zeros(0, np.float32), *parts])


def judges(chosen: Chosen, features: str) -> Mapping[str, Callable[[], Judge]]:
    """What says of any picture whether it has each attribute, made when it is first asked for.

    Measured attributes are measured. For each of the others a classifier of the set learns once to tell the pictures
    that have it from those that have not (`feature_net`).
    With other `features`, which know nothing of them, these say NaN.
    """

    def judge(name: str) -> Judge:
        limit = chosen.thresholds[name]
        if limit is not None:
            return Judge(lambda images: _scores(name, images) > limit, "measured", digest_of(name, str(limit)))
        if features not in ("auto", "classifier"):
            return Judge(lambda images: np.full(len(images), np.nan), "none", "")
        net = feature_net("classifier", parted(chosen.images, name))
        return Judge(lambda images: probabilities(net, images).argmax(axis=-1) == 1, net.name, net.identity)

    return {name: cache(partial(judge, name)) for name in chosen.thresholds}


def parted(images: Images, name: str) -> Images:
    """The same images with two classes: those that have not this attribute, and those that have it."""
    k = images.attributes.index(name)
    assert images.attribute is not None
    label = images.attribute[:, k].astype(np.int32)
    test_label = None if images.test_attribute is None else images.test_attribute[:, k].astype(np.int32)
    return replace(
        images,
        name=f"{images.name}-{name}",
        label=label,
        test_label=test_label,
        classes=(f"not-{name}", name),
        fingerprint=identity(images.image, None, label, images.fingerprint, f"attribute {name}"),
    )


def attribute_evaluation(chosen: Chosen, options: Options, ways: Mapping[str, Translate]) -> Evaluation:
    """The evaluation "translation" of pictures into having or not having something, on test pictures if there are any.

    ``accuracy``: the share of translated pictures that have what was asked for as it was asked for, by `judges`, of
    pictures that were not so before, by the data; the mean over ways, and ``accuracy_worst``, of the way for which it
    is least. ``accuracy_before``, of the same pictures untranslated: how often the judges err, at best 0.
    ``others_kept``: the share of attributes that were not asked for in which the judges see no change.
    ``class_kept``, of labelled images: the share of translated pictures of which the set's classifier says what they
    were. ``cycle_l1``: between a picture and what comes back when its own value is asked for, of levels in [0, 1].
    """
    judge = judges(chosen, options.features)
    images, names = chosen.images, list(chosen.thresholds)
    classified = images.label is not None and images.num_classes >= 2 and options.features in ("auto", "classifier")
    classifier = cache(lambda: feature_net("classifier", images)) if classified else None

    def seen(pictures: np.ndarray) -> np.ndarray:
        return np.stack([judge[name]().tells(pictures) for name in names], axis=1)

    def evaluate(state: State, key: Key) -> Mapping[str, Any]:
        held = has_test(images)
        pictures = images.test_image if held else images.image
        told = images.test_attribute if held else images.attribute
        label = images.test_label if held else images.label
        assert pictures is not None and told is not None
        # each picture goes about half of the ways
        n = max(2, min(2 * options.evaluate_samples // len(ways), len(pictures)))
        places = np.linspace(0, len(told) - 1, n).astype(int)
        shown, has = some(pictures, n), told[places]
        before = seen(shown)
        right, was_right, kept, same, returned = [], [], [], [], []
        for name, translate in ways.items():
            columns, values = chosen.ways[name].columns, chosen.ways[name].values
            others = [k for k in range(len(names)) if k not in columns]
            rows = (has[:, columns] != values).any(axis=1)
            if not rows.any():
                continue
            made = translated(translate, state, shown[rows], key)
            after = seen(made)
            # the least over columns is whether all are so
            right.append(_alike(after[:, columns], values).min(axis=1).mean())
            was_right.append(_alike(before[rows][:, columns], values).min(axis=1).mean())
            if others:
                kept.append(_alike(after[:, others], before[rows][:, others]).mean())
            if classifier is not None and label is not None:
                same.append(accuracy(classifier(), made, label[places][rows]))
            for own, back in ways.items():
                if chosen.ways[own].columns != columns:
                    continue
                mine = (has[rows][:, columns] == chosen.ways[own].values).all(axis=1)
                if mine.any():
                    again = translated(back, state, made[mine], jax.random.fold_in(key, 1))
                    returned.append(np.abs(again.astype(np.float64) - shown[rows][mine]).mean(axis=(1, 2, 3)))
        found = {
            "accuracy": float(np.mean(right)) if right else float("nan"),
            "accuracy_worst": float(np.min(right)) if right else float("nan"),
            "accuracy_before": float(np.mean(was_right)) if right else float("nan"),
        }
        if kept:
            found["others_kept"] = float(np.mean(kept))
        if same:
            found["class_kept"] = float(np.mean(same))
        if returned:
            found["cycle_l1"] = float(np.concatenate(returned).mean() / 255.0)
        nets = [judge[name]() for name in names]
        who = " and ".join(dict.fromkeys(net.name for net in nets))
        return found | said(who, digest_of(*(net.identity for net in nets)), images.name, n, held, images.note)

    return evaluate


def _alike(seen: np.ndarray, others: Any) -> np.ndarray:
    """1 where two looks agree, 0 where they differ, NaN where either says nothing."""
    one, other = np.asarray(seen, np.float64), np.asarray(others, np.float64)
    return np.where(np.isnan(one + other), np.nan, one == other)
