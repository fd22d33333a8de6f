"""The stages of a run as a picture: boxes that say how each ended, lines to what needs it. Inline SVG, no script.

How a stage ended is said by a word, a sign and the kind of frame, and only then by color: it has to be told apart in
print, and by those who see no difference between green and red. Colors are the page's, by the classes that boxes have.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from patchmill.show.layers import Layout, layout, without_shortcuts
from patchmill.show.progress import shown_seconds

_WIDTH, _HEIGHT = 158.0, 58.0
"""Of a box, in CSS pixels."""

_BESIDE, _BELOW = 18.0, 38.0
"""Room between neighbors of a layer, and between layers that lie below each other."""

_LEAST, _MOST = 34.0, 60.0
"""Room between layers that lie beside each other: so much as the page has."""

_FITS = 928.0
"""Width of the page's column."""

_MOST_LINES = 120
"""Of more, those that follow from others are not drawn."""

_NAME, _STATE = 17, 21
"""Characters that fit into a box: of a name, and of what stands below it."""

SIGNS = {
    "done": "M2 6.5 4.8 9.3 10 3",
    "skipped": "M2 2.5 5.5 6 2 9.5M6.5 2.5 10 6 6.5 9.5",
    "failed": "M2.5 2.5 9.5 9.5M9.5 2.5 2.5 9.5",
    "killed": "M2.5 2.5 9.5 9.5M9.5 2.5 2.5 9.5",
    "interrupted": "M3 3H9V9H3Z",
    "running": "M3.5 2.5 9.5 6 3.5 9.5Z",
    "waiting": "M6 2.5V6L8.5 7.5",
    "not run": "M2.5 6H9.5",
}
"""What is drawn beside the word, on 12 x 12 pixels."""


@dataclass(frozen=True, slots=True)
class Box:
    """A stage in the picture.

    Parameters
    ----------
    name, state : str
    seconds : float or None
    needs : sequence of str
        Names of earlier boxes; others are not drawn.
    link : str
        Where a click leads.
    note : str
        What is said when a pointer rests on it.
    """

    name: str
    state: str
    seconds: float | None
    needs: Sequence[str]
    link: str
    note: str = ""


def kind(state: str) -> str:
    """The class of a state, by which the page colors it.

    Examples
    --------
    >>> kind("not run"), kind('"><script>')
    ('not-run', 'waiting')
    """
    return state.replace(" ", "-") if state in SIGNS else "waiting"


def flow_svg(boxes: Sequence[Box], *, narrow: bool = False) -> str:
    """The picture.

    Parameters
    ----------
    boxes : sequence of Box
        In an order in which they can run.
    narrow : bool
        Whether it shall fit a narrow page: layers from top to bottom.

    Returns
    -------
    str
        An ``<svg>`` element; empty where there are no boxes. All text is escaped.
    """
    if not boxes:
        return ""
    needs = _needs(boxes)
    laid = layout(needs if sum(map(len, needs)) <= _MOST_LINES else without_shortcuts(needs))
    place = _Down(laid) if narrow or _is_wide(laid) else _Right(laid)
    lines = "".join(_line(place.path(*ends)) for ends in laid.lines)
    drawn = "".join(_box(box, *place.corner(at)) for at, box in enumerate(boxes))
    width, height = place.size
    return (
        f'<svg class="flow" viewBox="-2 -2 {width + 4:.0f} {height + 4:.0f}" width="{width + 4:.0f}" '
        f'height="{height + 4:.0f}" role="group" aria-label="{_said(boxes)}">{lines}{drawn}</svg>'
    )


def leaves_out(boxes: Sequence[Box]) -> bool:
    """Whether the picture has so many lines that those which follow from others are not drawn."""
    return sum(map(len, _needs(boxes))) > _MOST_LINES


def sign_svg(state: str) -> str:
    """The sign of a state, to stand beside its word."""
    return f'<svg class="sign" viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">{_sign(state)}</svg>'


def shortened(text: str, room: int) -> str:
    """`text` in at most `room` columns; Chinese, Japanese and Korean characters take two.

    Examples
    --------
    >>> shortened("patchify", 8), shortened("patchify-everything", 8), shortened("地図と画像", 6)
    ('patchify', 'patchif…', '地図…')
    """
    widths = [2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text]
    if sum(widths) <= room:
        return text
    kept, left = "", room - 1
    for each, width in zip(text, widths, strict=True):
        left -= width
        if left < 0:
            break
        kept += each
    return f"{kept}…"


def _needs(boxes: Sequence[Box]) -> list[list[int]]:
    number: dict[str, int] = {}
    needs = []
    for at, box in enumerate(boxes):
        needs.append(sorted({number[need] for need in box.needs if need in number}))
        number[box.name] = at
    return needs


def _is_wide(laid: Layout) -> bool:
    right, down = _Right(laid).size[0], _Down(laid).size[0]
    return right > _FITS and down < right


def _said(boxes: Sequence[Box]) -> str:
    return escape(f"{len(boxes)} stages and what they need: " + ", ".join(box.name for box in boxes[:50]))


@dataclass(frozen=True, slots=True)
class _Right:
    """Layers from left to right."""

    laid: Layout

    @property
    def gap(self) -> float:
        """Room between layers."""
        layers = self.laid.layers
        return min(max((_FITS - layers * _WIDTH) / max(layers - 1, 1), _LEAST), _MOST)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height."""
        laid = self.laid
        return laid.layers * (_WIDTH + self.gap) - self.gap, laid.extent * (_HEIGHT + _BESIDE) - _BESIDE

    def corner(self, at: int) -> tuple[float, float]:
        """The upper left corner of a box."""
        return self._left(self.laid.layer[at]), self._middle(self.laid.across[at]) - _HEIGHT / 2

    def path(self, first: int, last: int) -> str:
        """A line from one box to another, with its arrow, in the words of SVG."""
        (x, y), bend = self.corner(first), self.gap / 2
        x, y = x + _WIDTH, y + _HEIGHT / 2
        steps = [f"M{x:.1f} {y:.1f}"]
        for layer, across in enumerate(self.laid.lines[first, last], self.laid.layer[first] + 1):
            left, there = self._left(layer), self._middle(across)
            steps.append(f"C{x + bend:.1f} {y:.1f} {left - bend:.1f} {there:.1f} {left:.1f} {there:.1f}h{_WIDTH:.1f}")
            x, y = left + _WIDTH, there
        left, there = self.corner(last)
        tip, there = left - 1, there + _HEIGHT / 2
        steps.append(f"C{x + bend:.1f} {y:.1f} {tip - bend:.1f} {there:.1f} {tip:.1f} {there:.1f}m-7 -4 7 4 -7 4")
        return "".join(steps)

    def _left(self, layer: int) -> float:
        return layer * (_WIDTH + self.gap)

    @staticmethod
    def _middle(across: float) -> float:
        return across * (_HEIGHT + _BESIDE) - _BESIDE / 2


@dataclass(frozen=True, slots=True)
class _Down:
    """Layers from top to bottom."""

    laid: Layout

    @property
    def size(self) -> tuple[float, float]:
        """Width and height."""
        laid = self.laid
        return laid.extent * (_WIDTH + _BESIDE) - _BESIDE, laid.layers * (_HEIGHT + _BELOW) - _BELOW

    def corner(self, at: int) -> tuple[float, float]:
        """The upper left corner of a box."""
        return self._middle(self.laid.across[at]) - _WIDTH / 2, self._top(self.laid.layer[at])

    def path(self, first: int, last: int) -> str:
        """A line from one box to another, with its arrow, in the words of SVG."""
        (x, y), bend = self.corner(first), _BELOW / 2
        x, y = x + _WIDTH / 2, y + _HEIGHT
        steps = [f"M{x:.1f} {y:.1f}"]
        for layer, across in enumerate(self.laid.lines[first, last], self.laid.layer[first] + 1):
            there, top = self._middle(across), self._top(layer)
            steps.append(f"C{x:.1f} {y + bend:.1f} {there:.1f} {top - bend:.1f} {there:.1f} {top:.1f}v{_HEIGHT:.1f}")
            x, y = there, top + _HEIGHT
        there, top = self.corner(last)
        there, tip = there + _WIDTH / 2, top - 1
        steps.append(f"C{x:.1f} {y + bend:.1f} {there:.1f} {tip - bend:.1f} {there:.1f} {tip:.1f}m-4 -7 4 7 4 -7")
        return "".join(steps)

    @staticmethod
    def _top(layer: int) -> float:
        return layer * (_HEIGHT + _BELOW)

    @staticmethod
    def _middle(across: float) -> float:
        return across * (_WIDTH + _BESIDE) - _BESIDE / 2


def _line(path: str) -> str:
    return f'<path class="need" d="{path}"/>'


def _box(box: Box, x: float, y: float) -> str:
    took = "" if box.seconds is None else f", {shown_seconds(box.seconds)}"
    said = f"{box.state}{took}"
    note = escape(f"{box.name}: {said}" + (f". {box.note}" if box.note else ""))
    return (
        f'<a href="{escape(box.link)}" class="box {kind(box.state)}" aria-label="{note}"><title>{note}</title>'
        f'<svg x="{x:.1f}" y="{y:.1f}" width="{_WIDTH:.0f}" height="{_HEIGHT:.0f}">'  # what is too long ends here
        f'<rect class="frame" x="1.5" y="1.5" width="{_WIDTH - 3:.0f}" height="{_HEIGHT - 3:.0f}" rx="8"/>'
        f'<text class="name" x="14" y="25">{escape(shortened(box.name, _NAME))}</text>'
        f'<g transform="translate(13.5 34)">{_sign(box.state)}</g>'
        f'<text class="state" x="31" y="44.5">{escape(shortened(said, _STATE))}</text></svg></a>'
    )


def _sign(state: str) -> str:
    ring = '<circle cx="6" cy="6" r="5.2"/>' if kind(state) == "waiting" else ""
    return f'<g class="drawn">{ring}<path d="{SIGNS.get(state, SIGNS["waiting"])}"/></g>'
