# SPDX-License-Identifier: GPL-2.0-or-later
"""How `make docs` makes a site of docs/. Nothing in it comes from elsewhere when it is read."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from pygments.lexer import RegexLexer, bygroups
from pygments.lexers.special import TextLexer
from pygments.token import Comment, Keyword, Name, Number, Punctuation, Text
from sphinx.application import Sphinx

from pyconntrack.version import __version__

project = "pyconntrack"
author = "the pyconntrack authors"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "index"
exclude_patterns: list[str] = []
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"

html_theme = "furo"
html_title = "pyconntrack"
html_show_copyright = False
html_copy_source = False


class ConfigurationLexer(RegexLexer):
    """Colours for blocks of conntrackd.conf."""

    name = "conntrackd.conf"
    tokens: ClassVar[dict[str, Any]] = {
        "root": [
            (r"#.*", Comment),
            (r"[{}]", Punctuation),
            (r"^(\s*)([A-Za-z]\w*)", bygroups(Text, Keyword)),
            (r"\b\d[\w.:/]*", Number),
            (r"[^\s{}#]+", Name),
            (r"\s+", Text),
        ]
    }
    flags = re.MULTILINE


def link_readme(app: Sphinx, docname: str, source: list[str]) -> None:
    """The site begins with index.md, where the repository has its README."""
    source[0] = source[0].replace("](../README.md", "](index.md")


def setup(app: Sphinx) -> None:
    app.add_lexer("conntrackd.conf", ConfigurationLexer)
    for plain in ("hex", "log"):
        app.add_lexer(plain, TextLexer)
    app.connect("source-read", link_readme)
