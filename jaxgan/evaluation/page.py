"""The parts that report pages are made of: escaping, tables, embedded pictures, the style sheet, the file itself."""

import base64
import html
import io
import json
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

SHRUNK_SIDE = 768
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_page(path: Path, title: str, body: Iterable[str]) -> Path:
    """Writes one HTML page from finished sections; empty sections are left out. Returns the path."""
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{escaped(title)} · jaxgan</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(section for section in body if section)
        + "\n</main></body></html>\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    # Replaced in one move: a reader, or a second report of a running run, never meets half a page.
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(page, encoding="utf-8")
    os.replace(partial, path)
    return path


def escaped(value: Any) -> str:
    """`as_text` of a value, safe inside an element and inside a quoted attribute."""
    return html.escape(as_text(value), quote=True)


def as_text(value: Any) -> str:
    """A JSON value as a reader would type it: text bare, numbers exactly, the rest as JSON."""
    if isinstance(value, str):
        return value
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False, default=str)


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects as one level with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and value:
            flat |= flattened(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def note(text: str, kind: str = "note") -> str:
    """A small grey paragraph."""
    return f'<p class="{kind}">{escaped(text)}</p>'


def section(title: str, content: str, kind: str = "") -> str:
    """A headed section around finished HTML."""
    return f'<section class="{kind}"><h2>{escaped(title)}</h2>{content}</section>'


def table(head: str, rows: Iterable[str], kind: str = "") -> str:
    """A table that scrolls sideways where the screen is narrow; `head` and `rows` are finished <tr> elements."""
    thead = f"<thead>{head}</thead>" if head else ""
    return f'<div class="scroll"><table class="{kind}">{thead}<tbody>{"".join(rows)}</tbody></table></div>'


def definitions(title: str, values: Mapping[str, Any]) -> str:
    """A titled two-column table of names and values."""
    rows = [f"<tr><th>{escaped(name)}</th><td>{escaped(v)}</td></tr>" for name, v in flattened(values).items()]
    return f"<div><h3>{escaped(title)}</h3>{table('', rows, 'plain') if rows else note('not recorded')}</div>"


def picture(path: Path, caption: str, limit_bytes: int) -> str:
    """A PNG file as an embedded figure; one above `limit_bytes` is shrunk, an unreadable one becomes a placeholder."""
    under = f"<figcaption>{escaped(caption)}</figcaption>"
    try:
        content = path.read_bytes()
    except OSError:
        content = b""
    # A file that was being written when the run died has no end chunk; a browser would show half of it.
    if not content.startswith(PNG_SIGNATURE) or b"IEND" not in content[-16:]:
        return f'<figure class="picture missing">{escaped(path.name)} cannot be read{under}</figure>'
    if len(content) > limit_bytes:
        content = _shrunk(content)
    width, height = struct.unpack(">II", content[16:24])
    # Few pixels are shown as squares; a picture with more pixels than its place is smoothed by the browser.
    kind = "pixels" if width < 640 else "smooth"
    encoded = base64.b64encode(content).decode()
    image = f'<img class="{kind}" width="{width}" height="{height}" alt="{escaped(caption)}"'
    return f'<figure class="picture">{image} src="data:image/png;base64,{encoded}">{under}</figure>'


def _shrunk(content: bytes) -> bytes:
    """A PNG reduced by a whole factor, by averaging, to at most SHRUNK_SIDE pixels a side; unchanged if that fails."""
    from matplotlib import image

    try:
        pixels = np.atleast_3d(image.imread(io.BytesIO(content), format="png"))
    except (OSError, SyntaxError, ValueError):
        return content
    factor = -(-max(pixels.shape[:2]) // SHRUNK_SIDE)
    height, width = pixels.shape[0] // factor, pixels.shape[1] // factor
    cropped = pixels[: height * factor, : width * factor]
    small = cropped.reshape(height, factor, width, factor, -1).mean(axis=(1, 3))
    small = np.repeat(small, 3, axis=2) if small.shape[2] == 1 else small
    buffer = io.BytesIO()
    image.imsave(buffer, np.clip(small, 0.0, 1.0), format="png")
    return buffer.getvalue()


STYLE = """
:root { color-scheme: light dark;
  --page: #fafaf8; --card: #ffffff; --ink: #1c1d21; --soft: #62656e; --rule: #e3e3de; --accent: #2b5fd9;
  --caution: #9a5b00; --caution-page: #fff6e5; --best: #e2f4e8;
  --line-0: #2b5fd9; --line-1: #d9542b; --line-2: #1f9d68; --line-3: #9147c9;
  --line-4: #b98900; --line-5: #0f94ab; --line-6: #cf3f82; --line-7: #6b6f78; }
@media (prefers-color-scheme: dark) { :root {
  --page: #14151a; --card: #1c1e24; --ink: #e9e9ec; --soft: #9ea2ad; --rule: #30333c; --accent: #84a9ff;
  --caution: #ffc46b; --caution-page: #2c2415; --best: #1c3a2a;
  --line-0: #7aa2ff; --line-1: #ff8e66; --line-2: #4fd09a; --line-3: #c78bff;
  --line-4: #e8bf4a; --line-5: #4fcbe0; --line-6: #ff82b8; --line-7: #a4a8b3; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 28px 20px 64px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 14px; letter-spacing: -0.015em; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 0 0 12px; letter-spacing: -0.01em; }
h3 { font-size: 13px; font-weight: 600; margin: 0 0 6px; overflow-wrap: anywhere; }
h3.group { color: var(--soft); margin: 18px 0 8px; }
section { margin-top: 36px; }
.facts { display: flex; flex-wrap: wrap; gap: 8px 28px; margin: 0 0 16px; }
.facts dt, .note, figcaption { color: var(--soft); font-size: 13px; }
.facts dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
.note { margin: 6px 0 0; overflow-wrap: anywhere; }
.caution { margin: 6px 0 0; color: var(--caution); }
pre { margin: 0; padding: 12px 14px; background: var(--card); border: 1px solid var(--rule); border-radius: 8px;
  white-space: pre-wrap; overflow-wrap: anywhere; }
code { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.warnings { background: var(--caution-page); border-left: 3px solid var(--caution); border-radius: 6px;
  padding: 14px 18px; }
.warnings ul { margin: 0; padding-left: 18px; overflow-wrap: anywhere; }
.warnings h2 { font-size: 15px; margin-bottom: 6px; color: var(--caution); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin-top: 14px; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 6px 12px 6px 0; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th { font-weight: 500; white-space: normal; } th:first-child { text-align: left; }
tbody th { min-width: 8em; }
thead th { color: var(--soft); font-size: 13px; border-bottom-color: var(--soft); }
thead th:first-child { color: var(--ink); font-weight: 600; }
td.best { font-weight: 700; background: var(--best); }
th:last-child, td:last-child { padding-right: 6px; }
table.plain { margin-top: 0; font-size: 13px; } table.plain th { color: var(--soft); vertical-align: top; }
table.plain td { white-space: normal; overflow-wrap: anywhere; }
.arrow { color: var(--accent); }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); gap: 24px 40px; }
.columns > div { min-width: 0; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); gap: 20px; }
.strip { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 14px; }
.pair + h3 { margin-top: 20px; }
figure { margin: 0; min-width: 0; }
.picture img { display: block; width: 100%; height: auto; border-radius: 6px; border: 1px solid var(--rule); }
.picture.missing { padding: 24px; border: 1px dashed var(--rule); border-radius: 6px; overflow-wrap: anywhere; }
.pair .picture { max-width: 560px; }
img.pixels { image-rendering: pixelated; }
figcaption { margin-top: 4px; overflow-wrap: anywhere; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 330px), 1fr)); gap: 16px; }
.chart { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: 12px 12px 10px; }
.chart svg { display: block; width: 100%; height: auto; }
.chart text { font-size: 11px; fill: var(--soft); font-variant-numeric: tabular-nums; }
.grid { stroke: var(--rule); stroke-width: 1; }
.line { fill: none; stroke-width: 1.6; stroke-linejoin: round; vector-effect: non-scaling-stroke; }
.band { opacity: 0.18; stroke: none; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 4px 0 0; padding: 0;
  font-size: 13px; }
.legend li { overflow-wrap: anywhere; }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 6px; }
@media print {
  :root { color-scheme: light; --page: #ffffff; --card: #ffffff; --ink: #000000; --soft: #44464d; --rule: #c8c8c4;
    --accent: #2b5fd9; --caution: #9a5b00; --caution-page: #ffffff; --best: #e2f4e8; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { font-size: 10pt; } main { max-width: none; padding: 0; } section { margin-top: 18pt; }
  h2, h3 { break-after: avoid; } figure, tr, pre { break-inside: avoid; } .scroll { overflow: visible; }
  td, th { white-space: normal; padding-right: 6pt; } .charts { grid-template-columns: 1fr 1fr; }
  .strip { grid-template-columns: repeat(4, 1fr); }
}
"""
