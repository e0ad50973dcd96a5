"""``jaxgan sample``, ``interpolate`` and ``neighbours``: what a run generates."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from jaxgan.commands.flags import DONE, named, of_member, picture_out, positional, writing
from jaxgan.config import RequestError, check_seed, parse


def sample(arguments: list[str]) -> int:
    @dataclass(frozen=True)
    class Sample:
        """Generated examples: a picture (.png), an archive (.npz, key `samples`), or a folder of PNGs."""

        run: Annotated[Path, positional()]
        """Folder of the run."""
        n: int = 64
        """How many."""
        seed: int = 0
        """Of the latents."""
        class_: Annotated[int | None, named("class")] = None
        """Class index, for conditional systems."""
        truncation: float = 1.0
        """1 samples as trained, towards 0 less varied and more typical."""
        member: int | None = None
        """Of a population; by default the first."""
        checkpoint: str = "final"
        """final, best, or a step."""
        out: Path | None = None
        """FILE.png, FILE.npz or a folder; by default a PNG in the run's folder."""

    asked = parse(Sample, arguments, "jaxgan sample")
    if asked.n < 1:
        raise RequestError(f"--n is at least 1, got {asked.n}")
    check_seed(asked.seed)
    from jaxgan import run as runs

    runs.configure_backend()
    run = runs.load(asked.run, asked.checkpoint, asked.member)
    outputs = run.sample(asked.n, asked.seed, asked.class_, asked.truncation)
    out = asked.out or asked.run / f"sample{of_member(asked.member)}-seed{asked.seed}-n{asked.n}.png"
    import numpy as np

    from jaxgan.arrays import to_uint8
    from jaxgan.training.log import write_picture

    with writing(out):
        if out.suffix == ".npz":
            np.savez_compressed(out, samples=outputs)
        elif out.suffix == ".png":
            write_picture(out, run.draw(outputs))
        elif out.suffix:
            raise RequestError(f"--out {out} ends in .png, .npz, or is a folder")
        elif outputs.ndim != 4:
            raise RequestError(f"a folder of PNGs holds images, and {asked.run} makes points: use --out FILE.npz")
        else:
            out.mkdir(parents=True, exist_ok=True)
            for i, image in enumerate(np.asarray(to_uint8(outputs))):
                write_picture(out / f"{i:06d}.png", image)
    print(out)
    return DONE


def interpolate(arguments: list[str]) -> int:
    @dataclass(frozen=True)
    class Interpolate:
        """The way from one latent to another, as a strip of pictures (PNG) and an animation (GIF)."""

        run: Annotated[Path, positional()]
        """Folder of the run."""
        path: Literal["spherical", "linear"] = "spherical"
        """Along the sphere, where latents are, or along the straight line."""
        rows: int = 4
        """Pairs of latents."""
        frames: int = 12
        """Pictures from one end to the other, both included."""
        seed: int = 0
        """Of the latents."""
        class_: Annotated[int | None, named("class")] = None
        """Class index of all rows, for conditional systems; by default a row goes to each class in turn."""
        space: Literal["z", "w"] = "z"
        """Latent space; w is StyleGAN's, where paths are straight."""
        member: int | None = None
        """Of a population; by default the first."""
        checkpoint: str = "final"
        """final, best, or a step."""
        out: Path | None = None
        """Where FILE.png and FILE.gif go; by default into the run's folder."""

    asked = parse(Interpolate, arguments, "jaxgan interpolate")
    if asked.rows < 1 or asked.frames < 2:
        raise RequestError(f"--rows is at least 1 and --frames at least 2, got {asked.rows} and {asked.frames}")
    check_seed(asked.seed)
    way = asked.path if asked.space == "z" else "w"
    named_class = "" if asked.class_ is None else f"-class{asked.class_}"
    out = picture_out(asked, f"interpolation{of_member(asked.member)}-{way}{named_class}-seed{asked.seed}")
    from jaxgan import run as runs
    from jaxgan.explore.interpolation import draw
    from jaxgan.explore.interpolation import interpolate as between

    runs.configure_backend()
    run = runs.load(asked.run, asked.checkpoint, asked.member)
    outputs = between(run, asked.rows, asked.frames, asked.path, asked.seed, asked.class_, asked.space)
    with writing(out):
        draw(run, outputs, out)
    print(out)
    print(out.with_suffix(".gif"))
    return DONE


def neighbours(arguments: list[str]) -> int:
    @dataclass(frozen=True)
    class Neighbours:
        """Samples, each beside its nearest training images on the feature net: copies would show."""

        run: Annotated[Path, positional()]
        """Folder of the run."""
        n: int = 8
        """Samples."""
        seed: int = 0
        """Of the latents."""
        features: str | None = None
        """Feature net; by default that of the training."""
        member: int | None = None
        """Of a population; by default the first."""
        checkpoint: str = "final"
        """final, best, or a step."""
        out: Path | None = None
        """Where FILE.png goes; by default into the run's folder."""

    asked = parse(Neighbours, arguments, "jaxgan neighbours")
    if asked.n < 1:
        raise RequestError(f"--n is at least 1, got {asked.n}")
    check_seed(asked.seed)
    out = picture_out(asked, f"neighbours{of_member(asked.member)}-seed{asked.seed}")
    from jaxgan import run as runs
    from jaxgan.evaluate import draw_neighbours

    runs.configure_backend()
    with writing(out):
        draw_neighbours(runs.load(asked.run, asked.checkpoint, asked.member), out, asked.n, asked.seed, asked.features)
    print(out)
    return DONE
