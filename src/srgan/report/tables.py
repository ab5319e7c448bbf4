"""The report's tables as HTML; every text from a file is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from srgan.report.record import finite

COLUMNS = {"psnr_y": 2, "ssim_daala": 4, "niqe": 3, "ssim_wang": 4}
"""Scores of the final table, and their digits."""
_NAMES = "".join(f"<th scope=col>{name.replace('ssim_', 'ssim_<wbr>')}</th>" for name in COLUMNS)
HEAD = f"<thead><tr><td></td>{_NAMES}</tr></thead>"
PAPER_TITLES = {"srresnet": "paper: SRResNet", "srgan": "paper: SRGAN (VGG54)"}


def final(evaluations: Mapping[str, Mapping[str, Any]]) -> str:
    """Scores by test set: the bicubic control and the paper's, then each model of each run, then the paper's.

    `evaluations`: title of a model -> its document of `srgan evaluate --json`.
    """
    sets = list(dict.fromkeys(name for document in evaluations.values() for name in document["sets"]))
    rows = [row for name in sets for row in _set_rows(name, evaluations)]
    if not rows:
        return ""
    return wide(f"<table>{HEAD}<tbody>{''.join(rows)}</tbody></table>")


def _set_rows(name: str, evaluations: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    found = {
        title: one for title, document in evaluations.items() if isinstance(one := document["sets"].get(name), dict)
    }
    first = next(iter(found.values()), {})
    count = f", {count} pictures" if (count := first.get("count")) else ""
    yield f"<tr class=set><th colspan={len(COLUMNS) + 1} scope=rowgroup>{escape(name + count)}</th></tr>"
    paper = _mapping(first.get("paper"))
    yield _score_row("bicubic, here", _mapping(_mapping(first.get("bicubic")).get("mean")))
    if "bicubic" in paper:
        yield _score_row("bicubic, paper", _mapping(paper["bicubic"]))
    for title, one in found.items():
        yield _score_row(title, _mapping(one.get("mean")), ours=True)
    for method, title in PAPER_TITLES.items():
        if method in paper:
            yield _score_row(title, _mapping(paper[method]))


def _score_row(title: str, scores: Mapping[str, Any], *, ours: bool = False) -> str:
    cells = "".join(f"<td>{score(scores.get(name), digits)}</td>" for name, digits in COLUMNS.items())
    return f"<tr{' class=ours' if ours else ''}><th scope=row>{escape(title)}</th>{cells}</tr>"


def score(value: Any, digits: int) -> str:
    """A score with its digits, or a dash."""
    number = finite(value)
    return "–" if number is None else f"{number:.{digits}f}"


def pictures(title: str, document: Mapping[str, Any]) -> str:
    """Every picture's scores of a model, behind a click."""
    rows = [
        _score_row(f"{set_name} {picture}", _mapping(scores))
        for set_name, one in document["sets"].items()
        for picture, scores in _mapping(_mapping(one).get("pictures")).items()
    ]
    if not rows:
        return ""
    body = f"<table>{HEAD}<tbody>{''.join(rows)}</tbody></table>"
    return f"<details><summary>{escape(title)}, picture by picture</summary>{wide(body)}</details>"


def beside(names: Sequence[str], columns: Sequence[Mapping[str, Any]]) -> str:
    """Values by key, a column for each run; rows in which the runs differ stand out and come first."""
    if len(columns) == 1:
        items = ((escape(key), escape(text(value))) for key, value in columns[0].items())
        listed = "".join(f"<div><dt>{key}</dt><dd>{value}</dd></div>" for key, value in items)
        return f'<dl class="values">{listed}</dl>' if listed else ""
    rows = []
    for key in dict.fromkeys(key for column in columns for key in column):
        cells = [text(column.get(key)) for column in columns]
        differs = len(set(cells)) > 1
        row = f"<tr{' class=differs' if differs else ''}><th scope=row>{escape(key)}</th>"
        rows.append((not differs, row + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"))
    titles = "".join(f"<th scope=col>{escape(name)}</th>" for name in names)
    body = "".join(row for _, row in sorted(rows, key=lambda pair: pair[0]))
    table = f"<table class=words><thead><tr><td></td>{titles}</tr></thead><tbody>{body}</tbody></table>"
    return wide(table) if rows else ""


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, keys joined by dots; a list becomes its length where it is long."""
    if not isinstance(value, Mapping):
        return {prefix or "value": value} if value is not None else {}
    found: dict[str, Any] = {}
    for key, item in value.items():
        found |= flat(item, f"{prefix}.{key}" if prefix else str(key))
    return found


def text(value: Any) -> str:
    """A value for the eye."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return ", ".join(map(text, value)) or "none"
    return str(value)


def wide(table: str) -> str:
    """A table that scrolls sideways on a narrow screen."""
    return f'<div class="wide" tabindex="0">{table}</div>'


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
