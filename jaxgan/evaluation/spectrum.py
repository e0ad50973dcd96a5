"""What the leading eigenvalues of a game's Jacobian say, as one word, one sentence and one picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

NEUTRAL = 0.01
"""Share of the largest modulus up to which a part of an eigenvalue counts as zero."""

Verdict = Literal["converging", "rotating", "diverging", "still"]


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The leading eigenvalues at one checkpoint.

    found: complex [m], imaginary part at least 0 and each standing for itself and its conjugate: of the
        Jacobian averaged over some batches. values: complex [m], what becomes of each on fresh batches.
    errors: [m], the standard error of the real part of `values` over those batches.
    field_norm, field_noise: the norm of the field averaged over all batches, and how much of it the
        batches alone explain.
    """

    step: int
    found: np.ndarray
    values: np.ndarray
    errors: np.ndarray
    field_norm: float
    field_noise: float


def judge(values: np.ndarray, errors: np.ndarray | None = None) -> tuple[Verdict, int | None]:
    """What the flow does along its leading directions, and the index of the eigenvalue that decides.

    values: complex [m], of one of each pair of conjugates or of both; errors: [m], the standard error
    of each real part, 0 by default. With t = 0.01 of the largest modulus:

    - diverging: a real part above t and above two of its errors. The largest decides.
    - rotating: otherwise, an imaginary part above t in modulus whose real part is above -t, or that
      turns by a whole circle before it has shrunk by e: -Re < abs(Im) / 2 pi. Of these the one that
      turns most for each e decides.
    - converging: otherwise; the largest real part below -t decides.
    - still: no values, or all are 0.

    Both parts within t: neutral. Nets have thousands of directions that change nothing, where a layer's
    scale moves into the next, so that eigenvalues of 0 speak neither for nor against. What is
    slower than t by its nature cannot be told from them.
    """
    values = np.asarray(values, complex)
    errors = np.zeros(len(values)) if errors is None else np.asarray(errors)
    scale = float(np.abs(values).max(initial=0.0))
    if scale == 0:
        return "still", None
    zero = NEUTRAL * scale
    real, turn = values.real, np.abs(values.imag)
    grows = (real > zero) & (real > 2 * errors)
    if grows.any():
        return "diverging", int(np.where(grows, real, -np.inf).argmax())
    turns = (turn > zero) & (-real < np.maximum(zero, turn / (2 * np.pi)))
    if turns.any():
        return "rotating", int(np.where(turns, -real / np.where(turns, turn, 1.0), np.inf).argmin())
    shrinks = real < -zero
    if shrinks.any():
        return "converging", int(np.where(shrinks, real, -np.inf).argmax())
    return "still", None


def sentence(spectrum: Spectrum) -> str:
    """``step 4000: rotating: ...``, one plain sentence."""
    verdict, at = judge(spectrum.values, spectrum.errors)
    value = 0j if at is None else complex(spectrum.values[at])
    said = {
        "diverging": f"the fastest-growing direction has eigenvalue {written(value)}",
        "rotating": f"nothing clearly grows, and eigenvalue {written(value)} {_turning(value)}",
        "converging": f"all real parts but neutral ones are negative, the slowest {written(value)}",
        "still": "no eigenvalue is clearly different from 0",
    }[verdict]
    scale = float(np.abs(spectrum.values).max(initial=0.0))
    norm, noise = spectrum.field_norm, spectrum.field_noise
    near = "the point may be stationary" if norm <= 2 * noise else "this is the flow nearby, not at a stationary point"
    return (
        f"step {spectrum.step}: {verdict}: {said} (largest modulus {scale:.3g}); "
        f"{near} (norm of the field {norm:.2g}, of which batches explain {noise:.2g})."
    )


def _turning(value: complex) -> str:
    if value.real >= 0:
        return "turns without shrinking"
    return f"turns {abs(value.imag) / (2 * np.pi * -value.real):.2g} times before it shrinks by e"


def written(value: complex) -> str:
    """``-0.5``, or ``-0.5 ± 3.2i`` for a pair of conjugates."""
    return f"{value.real:.3g}" + (f" ± {abs(value.imag):.3g}i" if value.imag else "")


def table(spectrum: Spectrum, missing: int) -> list[str]:
    """Lines for a terminal: the sentence, and under it every eigenvalue."""
    lines = [sentence(spectrum), f"  {'eigenvalue':22}on fresh batches"]
    for found, value, error in zip(spectrum.found, spectrum.values, spectrum.errors, strict=True):
        lines.append(f"  {written(found):22}{written(value):22}(error of the real part {error:.2g})")
    return lines + ([f"  {missing} more did not converge"] if missing else [])


def as_json(spectrum: Spectrum, missing: int) -> dict[str, Any]:
    """All of it as JSON has it."""
    verdict, _ = judge(spectrum.values, spectrum.errors)
    eigenvalues = [
        {"real": f.real, "imaginary": f.imag, "fresh_real": v.real, "fresh_imaginary": v.imag, "fresh_error": float(e)}
        for f, v, e in zip(map(complex, spectrum.found), map(complex, spectrum.values), spectrum.errors, strict=True)
    ]
    return {
        "step": spectrum.step,
        "verdict": verdict,
        "sentence": sentence(spectrum),
        "eigenvalues": eigenvalues,
        "missing": missing,
        "field_norm": spectrum.field_norm,
        "field_noise": spectrum.field_noise,
    }


def draw(path: Path, spectra: Sequence[Spectrum], title: str) -> None:
    """Writes a PNG: the complex plane, a colour for each checkpoint, dark to light with the step.

    Dots are the values on fresh batches, the other ends of the lines at them what was found. Axes are linear
    within the neutral band of all checkpoints together, which is shaded, and logarithmic beyond,
    because decay and growth of one game differ by orders of magnitude.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 5.4), layout="constrained")
    axes = figure.add_subplot()
    both = [np.concatenate([s.values, s.values.conj()]) for s in spectra]
    started = [np.concatenate([s.found, s.found.conj()]) for s in spectra]
    scale = max((float(np.abs(np.concatenate(v)).max(initial=0.0)) for v in (both, started)), default=0.0) or 1.0
    zero = NEUTRAL * scale
    axes.axvspan(-zero, zero, color="0.92", zorder=0, lw=0, label=f"within {NEUTRAL:.0%} of the largest modulus")
    axes.axvline(0.0, color="0.4", lw=0.8, zorder=1)
    axes.axhline(0.0, color="0.75", lw=0.8, zorder=1)
    shades = colormaps["viridis"](np.linspace(0.0, 0.9, len(spectra)))
    # later dots are smaller, so that none hides an earlier one
    sizes = np.linspace(64.0, 20.0, len(spectra))
    for spectrum, values, found, shade, size in zip(spectra, both, started, shades, sizes, strict=True):
        axes.plot([found.real, values.real], [found.imag, values.imag], color=shade, lw=0.9, zorder=2)
        label = f"step {spectrum.step}: {judge(spectrum.values, spectrum.errors)[0]}"
        axes.scatter(values.real, values.imag, s=size, color=shade, ec="white", lw=0.4, zorder=3, label=label)
    axes.plot([], [], color="0.5", lw=0.9, label="where the search had found it")
    axes.set_xscale("symlog", linthresh=zero)
    axes.set_yscale("symlog", linthresh=zero)
    edge = 1.6 * scale
    decades = 10.0 ** np.arange(np.ceil(np.log10(zero)), np.floor(np.log10(edge)) + 1)
    for axis in (axes.xaxis, axes.yaxis):
        # matplotlib's own crowd within the linear band
        axis.set_ticks([*-decades[::-1], 0.0, *decades])
    axes.set(xlim=(-edge, edge), ylim=(-edge, edge), xlabel="real part (right: grows)", ylabel="imaginary part (turns)")
    axes.set_title(title, fontsize=10)
    axes.legend(fontsize=8, loc="upper right")
    partial = path.with_suffix(".partial")
    figure.savefig(partial, dpi=130, format="png")
    partial.replace(path)
