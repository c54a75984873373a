"""What can be checked of a page's files without a browser: languages, imports, ids, nothing from outside."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

from tests.browser import ARTIFACTS

WEB = ARTIFACTS.parent / "web"
MARKED = ("data-i18n", "data-i18n-label", "data-i18n-placeholder")


class Elements(HTMLParser):
    """Every start tag of a document with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def values(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.found if name in attributes]


@dataclass
class PageFiles:
    """A page of `web/` with its own scripts and its language tables; `start` is the script that it loads."""

    html: str
    start: str
    tables: str
    """Of `web/i18n/<tables>.en.js` and `.zh.js`."""

    def __post_init__(self) -> None:
        self.elements = Elements((WEB / self.html).read_text(encoding="utf-8"))
        self.scripts = self._reached()

    def _reached(self) -> list[Path]:
        """Every script that the page loads, itself or by imports; a missing one fails here."""
        waiting, found = [WEB / self.start], []
        while waiting:
            path = waiting.pop().resolve()
            if path in found or path.parent.name == "i18n":
                continue
            found.append(path)
            waiting += [path.parent / name for name in re.findall(r'from "([^"]+)"', path.read_text(encoding="utf-8"))]
        return found

    def code(self) -> str:
        """All scripts without their comments."""
        text = "\n".join(path.read_text(encoding="utf-8") for path in self.scripts)
        return re.sub(r"(?m)(^|\s)//.*$", "", re.sub(r"/\*.*?\*/", "", text, flags=re.S))

    def table(self, tag: str) -> dict[str, str]:
        """The texts of one language."""
        text = (WEB / "i18n" / f"{self.tables}.{tag}.js").read_text(encoding="utf-8")
        pairs = json.loads(text[text.index("{") : text.rindex("}") + 1], object_pairs_hook=list)
        assert len(pairs) == len({key for key, _ in pairs}), "a key is there twice"
        return dict(pairs)

    def check_languages(self) -> None:
        """Both languages have the same keys and holes; each key that is used exists, none is left over."""
        english, chinese = self.table("en"), self.table("zh")
        assert english.keys() == chinese.keys()
        for key, text in english.items():
            assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", chinese[key])), key
            assert chinese[key].strip(), key
        code = self.code()
        written = {key for name in MARKED for key in self.elements.values(name)}
        assert sorted(written - english.keys()) == []
        written |= set(re.findall(r'\bt\(\s*"([^"]+)"', code))
        assert sorted(key for key in written if key not in english) == []
        mentioned = set(re.findall(r'"([a-z_]+\.[a-z_.0-9]+)"', code)) | written
        started = set(re.findall(r"`([a-z]+\.)\$\{", code))
        started |= {f"{group}." for group in re.findall(r'\bword\("(\w+)"', code)}
        left = [key for key in english if key not in mentioned and not key.startswith(tuple(started))]
        assert left == []

    def check_references(self) -> None:
        """Ids are unique; labels, scripts and icons refer to what exists; files are named relatively and exist."""
        ids = self.elements.values("id")
        assert len(ids) == len(set(ids))
        named = set(re.findall(r'\$\("([\w-]+)"\)', self.code()))
        assert len(named) > 5
        assert sorted(named - set(ids)) == []
        labels = {name for key in ("for", "aria-labelledby") for name in self.elements.values(key)}
        assert sorted(labels - set(ids)) == []
        links = [*self.elements.values("src"), *self.elements.values("href")]
        icons = {name[1:] for name in links if name.startswith("#")}
        icons |= {f"icon-{name}" for name in re.findall(r'\bicon\("(\w+)"\)', self.code())}
        icons |= {f"icon-{name}" for name in re.findall(r'\b(?:iconButton|button)\("(\w+)"', self.code())}
        drawn = {attributes["id"] for tag, attributes in self.elements.found if tag == "symbol"}
        assert icons == drawn
        for name in links:
            if not name.startswith(("#", "./api/")):
                assert name.startswith("./"), f"{name} would break below a proxy's prefix"
                assert (WEB / name).is_file(), name

    def check_safety(self) -> None:
        """Nothing that the content security policy forbids, no data as markup, nothing from outside."""
        for tag, attributes in self.elements.found:
            assert tag != "style"
            assert "style" not in attributes
            assert tag != "script" or attributes.get("src")
            assert not [name for name in attributes if name.startswith("on")]
            assert tag != "button" or attributes.get("type"), "a button without type submits"
        code = self.code().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"\beval\(|new Function|innerHTML|outerHTML|insertAdjacentHTML|document\.write", code)
        styles = [name for name in self.elements.values("href") if name.endswith(".css")]
        texts = [code, *((WEB / name).read_text(encoding="utf-8") for name in (self.html, *styles))]
        for text in texts:
            assert not re.search(r"""["'(](?:https?:)?//[\w.]""", text)
            assert "@import" not in text

    def check_styles(self) -> None:
        """Every variable that a style uses is defined."""
        styles = [name for name in self.elements.values("href") if name.endswith(".css")]
        text = "".join((WEB / name).read_text(encoding="utf-8") for name in styles)
        used, defined = set(re.findall(r"var\((--[\w-]+)", text)), set(re.findall(r"(--[\w-]+)\s*:", text))
        assert sorted(used - defined) == []
