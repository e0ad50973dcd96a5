"""``jaxgan arithmetic``, ``directions`` and ``invert``: the latent space of a run."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from jaxgan.commands.flags import DONE, named, of_member, picture_out, positional, writing
from jaxgan.config import RequestError, check_seed, parse


def arithmetic(arguments: list[str]) -> int:
    @dataclass(frozen=True)
    class Arithmetic:
        """Means of chosen samples' latents, added and taken away: does the result have what was asked for?

        A SEL chooses samples: a class of the data, by name or number as the classifier sees it; thick, thin,
        slanted-left, slanted-right, wide or narrow, the tenth of the samples that is most so; or both, as 3:thick.
        --plus thick --minus thin, as many added as taken away, is a direction, and is added to fresh latents at
        several strengths. Any other sum, as --plus 3:thick 8 --minus 3, is a place, that of thick eights: strength 1 is
        there, 2 as far again from the mean of all latents, and the pictures are of latents around it. Beside them
        stand random directions of equal length. A system that is told its class has latents without it: there
        arithmetic is on the latent within classes, and attributes are what can be chosen.

        The sheet: for each SEL the picture of the mean latent and some of the samples; fresh samples along the
        direction, a column for each strength; and the same along random ones.
        """

        run: Annotated[Path, positional()]
        """Folder of the run."""
        plus: tuple[str, ...]
        """SELs to add."""
        minus: tuple[str, ...] = ()
        """SELs to take away."""
        strengths: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0, 3.0)
        """How many times the direction is added."""
        n: int = 2000
        """Samples that are chosen from, and fresh ones that are moved."""
        seed: int = 0
        """Of the latents."""
        class_: Annotated[int | None, named("class")] = None
        """Class index, for conditional systems; by default all."""
        space: Literal["z", "w"] | None = None
        """Latent space; by default w where there is one."""
        features: str | None = None
        """Feature net that tells classes; by default that of the training."""
        member: int | None = None
        """Of a population; by default the first."""
        checkpoint: str = "final"
        """final, best, or a step."""
        out: Path | None = None
        """Where FILE.png goes; by default into the run's folder."""

    asked = parse(Arithmetic, arguments, "jaxgan arithmetic", description=inspect.cleandoc(Arithmetic.__doc__ or ""))
    _check_exploration(asked.n, asked.seed)
    if not asked.plus or not asked.strengths:
        raise RequestError("--plus and --strengths take at least one value")
    out = picture_out(asked, f"arithmetic{of_member(asked.member)}-seed{asked.seed}")
    run = _explorer(asked)
    from jaxgan.explore.arithmetic import arithmetic, draw, table

    found = arithmetic(run, asked.plus, asked.minus, asked.strengths, asked.n, asked.seed, asked.class_)
    print("\n".join(table(found, run.space.name)))
    with writing(out):
        draw(found, out)
    print(out)
    return DONE


def directions(arguments: list[str]) -> int:
    @dataclass(frozen=True)
    class Directions:
        """Directions in latent space, as a sheet (a row each, from -S to S) and an animation of four samples each.

        pca: principal components of styles, or in z of the pictures, as latents. factorisation: leading eigenvectors
        of the first layer's weight. supervised: the direction in which a --score rises, one for each score:
        thickness, slant, width or mass, thick, thin, slanted-left and so on, or class:NAME. A step of 1 is one
        standard deviation of the latents.
        """

        run: Annotated[Path, positional()]
        """Folder of the run."""
        method: Literal["pca", "factorisation", "supervised"] = "pca"
        """How they are found."""
        score: tuple[str, ...] = ()
        """Of supervised directions."""
        count: int | None = None
        """How many, 5 by default; supervised ones are as many as scores."""
        strength: float = 3.0
        """S, how far the sheet goes to either side."""
        columns: int = 9
        """Pictures in a row, and frames of the animation."""
        n: int = 2000
        """Samples that directions are found with."""
        seed: int = 0
        """Of the latents."""
        class_: Annotated[int | None, named("class")] = None
        """Class index, for conditional systems; by default all, and any one in the pictures."""
        space: Literal["z", "w"] | None = None
        """Latent space; by default w where there is one."""
        features: str | None = None
        """Feature net that tells classes; by default that of the training."""
        member: int | None = None
        """Of a population; by default the first."""
        checkpoint: str = "final"
        """final, best, or a step."""
        out: Path | None = None
        """Where FILE.png and FILE.gif go; by default into the run's folder."""

    asked = parse(Directions, arguments, "jaxgan directions", description=inspect.cleandoc(Directions.__doc__ or ""))
    _check_exploration(asked.n, asked.seed)
    supervised = asked.method == "supervised"
    if supervised != bool(asked.score) or (supervised and asked.count is not None):
        raise RequestError("--method supervised takes --score SCORE ..., a direction each; the others take --count")
    if not asked.strength > 0 or asked.columns < 2 or (asked.count or 1) < 1:
        raise RequestError("--strength is above 0, --columns at least 2 and --count at least 1")
    out = picture_out(asked, f"directions{of_member(asked.member)}-{asked.method}-seed{asked.seed}")
    run = _explorer(asked)
    from jaxgan.explore import walks

    found = walks.find(run, asked.method, asked.count or 5, asked.score, asked.n, asked.seed, asked.class_)
    for line in walks.table(run, found, asked.strength, asked.seed, asked.class_):
        print(line)
    with writing(out):
        walks.draw(run, found, out, asked.strength, asked.columns, asked.seed, asked.class_)
    print(out)
    print(out.with_suffix(".gif"))
    return DONE


def invert(arguments: list[str]) -> int:
    @dataclass(frozen=True)
    class Invert:
        """The latents of real pictures, by optimisation: how near does the generator come to them?

        Prints the mean squared error of pixels in [-1, 1] of each reconstruction, beside that of the nearest of the
        random latents the search began with. Writes originals and reconstructions in pairs (PNG) and the latents (NPZ:
        latent, image, reconstruction, error, label where the system is told one).
        """

        run: Annotated[Path, positional()]
        """Folder of the run."""
        images: Annotated[tuple[str, ...], positional()]
        """Files or folders of pictures, or test:INDEX of the run's data set."""
        steps: int = 500
        """Steps of Adam."""
        restarts: int = 8
        """Latents the search begins with; the nearest at the end is kept."""
        seed: int = 0
        """Of these latents."""
        class_: Annotated[int | None, named("class")] = None
        """Class index, for conditional systems; by default the picture's own, or what the classifier sees."""
        feature_weight: float = 0.0
        """Weight of the difference of features beside that of pixels."""
        prior_weight: float = 0.01
        """Weight that holds the latent at the norm that latents have."""
        space: Literal["z", "w"] | None = None
        """Latent space; by default w where there is one."""
        features: str | None = None
        """Feature net; by default that of the training."""
        member: int | None = None
        """Of a population; by default the first."""
        checkpoint: str = "final"
        """final, best, or a step."""
        out: Path | None = None
        """Where FILE.png and FILE.npz go; by default into the run's folder."""

    asked = parse(Invert, arguments, "jaxgan invert", description=inspect.cleandoc(Invert.__doc__ or ""))
    check_seed(asked.seed)
    if asked.steps < 1 or asked.restarts < 1:
        raise RequestError(f"--steps and --restarts are at least 1, got {asked.steps} and {asked.restarts}")
    if not (asked.feature_weight >= 0 and asked.prior_weight >= 0):
        raise RequestError("--feature-weight and --prior-weight are at least 0")
    if not asked.images:
        raise RequestError("invert which pictures? usage: jaxgan invert RUN IMAGE ..., files, folders or test:INDEX")
    out = picture_out(asked, f"inversion{of_member(asked.member)}-seed{asked.seed}")
    run = _explorer(asked)
    from jaxgan.explore import inversion

    names, images, label = inversion.read_pictures(run, asked.images)
    label = inversion.told(run, len(images), asked.class_, label)
    found = inversion.invert(
        run,
        images,
        label,
        asked.steps,
        asked.restarts,
        asked.seed,
        feature_weight=asked.feature_weight,
        prior_weight=asked.prior_weight,
    )
    print("\n".join(inversion.table(names, found)))
    with writing(out):
        inversion.write(found, out)
    print(out)
    print(out.with_suffix(".npz"))
    return DONE


def _explorer(asked: Any) -> Any:
    from jaxgan import run as runs
    from jaxgan.explore.space import explorer

    runs.configure_backend()
    return explorer(runs.load(asked.run, asked.checkpoint, asked.member), asked.space, asked.features)


def _check_exploration(n: int, seed: int) -> None:
    if n < 50:
        raise RequestError(f"--n is at least 50, got {n}")
    check_seed(seed)
