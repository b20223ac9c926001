"""A parser of pages: their text, pictures and references."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "img", "br", "link", "hr"}
OUTSIDE = re.compile(r"url\((?!#)[^)]*\)|@import|\b(?:https?|ftp|file)://[^\s\"]*")


@dataclass
class Drawn:
    """A picture of a page."""

    title: str = ""
    texts: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    """The ids to which its elements refer."""


class Page(HTMLParser):
    """``text`` is the text outside of pictures; ``outside`` holds references to anything other than parts of
    the page and files next to it.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.outside: list[str] = OUTSIDE.findall(html)
        self.pictures: list[Drawn] = []
        self._open: list[str] = []
        self._words: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == [], "every tag must be closed"
        self.text = " ".join(" ".join(self._words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = {name: value or "" for name, value in attrs}
        if tag == "svg":
            self.pictures.append(Drawn())
        if "svg" in (*self._open, tag):
            self._note(values)
        else:
            self.links += [values[name] for name in ("src", "href", "srcset", "action") if name in values]
        assert not any(name.startswith("on") for name in values), "attributes must not contain code"
        if tag not in VOID:
            self._open.append(tag)

    def _note(self, values: dict[str, str]) -> None:
        picture = self.pictures[-1]
        picture.ids += [values["id"]] if "id" in values else []
        targets = re.findall(r"url\(#([^)]*)\)", " ".join(values.values()))
        href = values.get("href", "")
        if href.startswith("#"):
            targets.append(href[1:])
        elif href and not href.startswith("data:image/png;base64,"):
            self.outside.append(href)
        picture.targets += targets

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "svg" not in self._open:
            if self._open and self._open[-1] != "style":
                self._words.append(data)
        elif self._open[-1] == "title":
            self.pictures[-1].title += data
        elif self._open[-1] == "text":
            self.pictures[-1].texts.append(data)
