"""``jaxgan translate``: one's own pictures through a run that translates."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from jaxgan.commands.flags import DONE, of_member, positional, writing
from jaxgan.config import RequestError, check_seed, parse


def translate(arguments: list[str]) -> int:
    @dataclass(frozen=True)
    class Translate:
        """Pictures of any size into another domain: a PNG of the same name for each, and a sheet of both sides."""

        run: Annotated[Path, positional()]
        """Folder of the run."""
        inputs: Annotated[tuple[Path, ...], positional()]
        """Pictures, or folders of pictures."""
        to: str | None = None
        """Name of the domain: a or b, a class, ...; by default the first that the run has."""
        prepare: bool = False
        """Pictures are such as the run learned to make: first make sources of them, by its --task."""
        seed: int = 0
        """Of the noise, for systems that have some."""
        member: int | None = None
        """Of a population; by default the first."""
        checkpoint: str = "final"
        """final, best, or a step."""
        out: Path | None = None
        """Folder for the pictures; by default one in the run's folder. The sheet is FOLDER.png."""

    asked = parse(Translate, arguments, "jaxgan translate")
    if not asked.inputs:
        raise RequestError("translate which pictures? usage: jaxgan translate RUN PICTURE ..., files or folders")
    check_seed(asked.seed)
    out = asked.out or asked.run / f"translated{of_member(asked.member)}{'' if asked.to is None else '-' + asked.to}"
    from jaxgan import run as runs
    from jaxgan.explore.translation import translate_files

    runs.configure_backend()
    run = runs.load(asked.run, asked.checkpoint, asked.member)
    with writing(out):
        if out.exists() and not out.is_dir():
            raise RequestError(f"--out {out} is a folder for pictures, and a file has that name")
        for path in translate_files(run, asked.inputs, out, asked.to, asked.prepare, asked.seed):
            print(path)
    print(out.with_name(out.name + ".png"))
    return DONE
