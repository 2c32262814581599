"""A figure as inline SVG: text stays text, ids are its own, and the marks say their values."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast
from xml.etree import ElementTree as Xml

from chatsim.report.style import number, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

SVG, LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
FONTS = "'DejaVu Sans', Verdana, sans-serif"
"""Verdana has the widths of DejaVu, so that labels fit where DejaVu is not installed."""
UNTITLED = "_"           # begins the labels that matplotlib makes itself
HOVERS_MOST = 2000
HALF_A_ROW = 0.45        # bars of a name may stand beside each other


def inline_svg(figure: Figure, key: str, says: str) -> str:
    """The figure as an ``<svg>`` element, for a page with many of them. ``key`` begins all its ids, ``says`` is what it
    shows, for those who cannot see it. Equal figures give equal text. Modifies the figure.

    Each mark of a line, and each bar, has a ``<title>`` with its values, which browsers show under the pointer.
    """
    texts = dict(_named(figure, key))
    content = io.BytesIO()
    wishes: dict[str, Any] = {"format": "svg", "metadata": {"Date": None, "Creator": None}, "transparent": True}
    with styled(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(content, **wishes)
    Xml.register_namespace("", SVG)
    Xml.register_namespace("xlink", LINK)
    root = Xml.fromstring(content.getvalue())
    for unwanted in root.findall(f"{{{SVG}}}metadata"):
        root.remove(unwanted)
    _say_values(root, texts)
    _own_ids(root, key)
    width, height = (float(root.attrib[side].removesuffix("pt")) for side in ("width", "height"))
    root.attrib |= {"role": "img", "aria-label": says, "width": f"{width / 0.75:.0f}", "height": f"{height / 0.75:.0f}"}
    return Xml.tostring(root, encoding="unicode").replace("'DejaVu Sans'", FONTS)


# --------------------------------------------------------------------------- values of marks


def _named(figure: Figure, key: str) -> Iterator[tuple[str, list[str]]]:
    """Gives ids to lines with marks and to bars, and says what each mark shows."""
    count = 0
    for place, axes in enumerate(figure.axes):
        for line in axes.lines:
            if line.get_marker() in (None, "None", "none", "", " "):
                continue
            points = [(float(x), float(y)) for x, y in cast(Any, line.get_xydata())]
            points = [point for point in points if all(map(math.isfinite, point))]
            count += len(points)
            if points and count <= HOVERS_MOST:
                own = f"{key}-v{place}-{count}"
                line.set_gid(own)
                yield own, [_said(axes, str(line.get_label()), *point) for point in points]
        for bars in axes.containers:
            for bar in getattr(bars, "patches", ()):
                count += 1
                own = f"{key}-b{place}-{count}"
                bar.set_gid(own)
                lies = getattr(bars, "orientation", "") == "horizontal"
                middle = bar.get_y() + bar.get_height() / 2 if lies else bar.get_x() + bar.get_width() / 2
                at = (bar.get_width(), middle) if lies else (middle, bar.get_height())
                yield own, [_said(axes, str(bars.get_label()), *at)]


def _said(axes: Axes, label: str, x: float, y: float) -> str:
    """A point in words: its line, and its values with the names of the axes."""
    parts = [] if label.startswith(UNTITLED) or not label else [" ".join(label.split())]
    for axis, value in ((axes.xaxis, x), (axes.yaxis, y)):
        name = " ".join(axis.get_label_text().split())
        shown = _category(axis, value) or number(value)
        parts.append(f"{name}: {shown}" if name else shown)
    return "; ".join(parts)


def _category(axis: Axis, value: float) -> str:
    """What stands at a value on an axis of names, or nothing on one of numbers."""
    from matplotlib.ticker import FixedLocator

    if not isinstance(axis.get_major_locator(), FixedLocator):
        return ""
    places = [float(at) for at in axis.get_majorticklocs()]
    names = [" ".join(text.split()) for text in axis.get_major_formatter().format_ticks(places)]
    if all(name in ("", number(at)) for at, name in zip(places, names, strict=True)):
        return ""
    return next((name for at, name in zip(places, names, strict=True) if abs(at - value) < HALF_A_ROW), "")


def _say_values(root: Xml.Element, texts: dict[str, list[str]]) -> None:
    """Puts titles into the marks. Where a mark was not drawn nobody knows which, so none of that line is named."""
    for group in root.iter(f"{{{SVG}}}g"):
        said = texts.get(group.attrib.get("id", ""), [])
        marks = list(group.iter(f"{{{SVG}}}use"))
        if not marks and len(said) == 1:
            marks = list(group.iter(f"{{{SVG}}}path"))[:1]
        if said and len(marks) == len(said):
            for mark, text in zip(marks, said, strict=True):
                Xml.SubElement(mark, f"{{{SVG}}}title").text = text


def _own_ids(root: Xml.Element, key: str) -> None:
    """Puts the key before all ids and what refers to them, as a page must not have an id twice."""
    for element in root.iter():
        for name, value in element.attrib.items():
            if name == "id":
                element.attrib[name] = value if value.startswith(f"{key}-") else f"{key}-{value}"
            elif name == f"{{{LINK}}}href" and value.startswith("#"):
                element.attrib[name] = f"#{key}-{value[1:]}"
            elif "url(#" in value:
                element.attrib[name] = value.replace("url(#", f"url(#{key}-")


__all__ = ["inline_svg"]
