"""How objects show themselves in a notebook: small tables of HTML, in which text stays text."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


def rows_html(title: str, about: str, rows: Iterable[tuple[str, object]]) -> str:
    """A title, a line about it, and a table of two columns.

    >>> rows_html("<b>", "", [("users", 5)])
    '<div><strong>&lt;b&gt;</strong><table><tbody><tr><th>users</th><td>5</td></tr></tbody></table></div>'
    """
    cells = "".join(f"<tr><th>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>" for name, value in rows)
    line = f"<p>{escape(about)}</p>" if about else ""
    table = f"<table><tbody>{cells}</tbody></table>" if cells else ""
    return f"<div><strong>{escape(title)}</strong>{line}{table}</div>"


def list_html(sentences: Iterable[str]) -> str:
    """Sentences one below the other.

    >>> list_html(["a < b"])
    '<ul><li>a &lt; b</li></ul>'
    """
    return f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in sentences)}</ul>"
