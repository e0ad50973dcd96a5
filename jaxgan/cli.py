"""The command line: ``jaxgan train | resume | sample | interpolate | arithmetic | directions | invert | neighbours |
translate | evaluate | spectrum | report | list | data``.

Light until it knows what is asked: help and `list` answer without importing JAX. Mistakes in the
request end with one line on standard error and status 2, interruptions with 130 or 143 (saved),
NaN or collapse with 3, and a disk that cannot be written with 1.
"""

import signal
import sys
from collections.abc import Callable, Sequence

from jaxgan.commands import data, explore, measure, samples, train, translate
from jaxgan.commands.flags import DONE, FAILED, MISTAKE, fail
from jaxgan.config import RequestError

HELP = """\
usage: jaxgan COMMAND ...

  train RECIPE     train a system; prints the folder of the run
  resume RUN       go on with an interrupted run
  sample RUN       generated examples as a picture, an archive or a folder
  interpolate RUN  the path between latents as a strip and an animation
  arithmetic RUN   means of latents added and taken away: thick 3 - 3 + 8
  directions RUN   directions in latent space and what each changes
  invert RUN ...   the latents of real pictures
  neighbours RUN   samples beside their nearest training images
  translate RUN .. pictures into another domain
  evaluate WHAT    metrics of a run, or of a folder or archive of images
  spectrum RUN     eigenvalues of the game: does it converge, rotate or diverge?
  report RUN ...   one page about a run, or one that compares several
  list             the systems there are
  data             the data sets there are, and where they lie

jaxgan COMMAND --help tells more; jaxgan train RECIPE --help shows all flags of a system.\
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point; exits with a status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = run(arguments)
    except RequestError as error:
        status = fail(str(error), MISTAKE)
    except KeyboardInterrupt as heard:
        # training.loop.Interrupted says which signal it was
        number = signal.Signals.__members__.get(str(heard), signal.SIGINT)
        status = fail("interrupted before anything was trained", 128 + number)
    except BrokenPipeError:
        # whoever read our output went away: not our failure, and nothing more can be said there
        sys.stderr.close()
        status = DONE
    except OSError as error:
        status = fail(str(error), FAILED)
    sys.exit(status)


def run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP)
        return DONE
    if arguments[0] == "--version":
        from jaxgan import __version__

        print(f"jaxgan {__version__}")
        return DONE
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        raise RequestError(f"there is no command {name!r}; there are {', '.join(COMMANDS)} (see jaxgan --help)")
    return COMMANDS[name](rest)


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": train.train,
    "resume": train.resume,
    "sample": samples.sample,
    "interpolate": samples.interpolate,
    "arithmetic": explore.arithmetic,
    "directions": explore.directions,
    "invert": explore.invert,
    "neighbours": samples.neighbours,
    "translate": translate.translate,
    "evaluate": measure.evaluate,
    "spectrum": measure.spectrum,
    "report": measure.report,
    "list": data.list_recipes,
    "data": data.data,
}

if __name__ == "__main__":
    main()
