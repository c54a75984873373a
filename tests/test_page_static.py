"""The page as files: complete languages, nothing from outside, every name resolves."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

WEB = Path(__file__).parent.parent / "web"
PAGE = WEB / "webrtcapichat.html"
SCRIPTS = sorted(path for folder in ("js", "js/puppet", "js/sound") for path in WEB.glob(f"{folder}/*.js"))
TABLES = [WEB / "i18n" / name for name in ("en.js", "zh.js")]
STYLES = [WEB / name for name in re.findall(r'href="\./(css/[\w.]+)"', PAGE.read_text(encoding="utf-8"))]
DRAWINGS = sorted(WEB.glob("*.svg"))

PUBLIC_IDS = (
    "start", "video", "status", "state", "connection", "latency", "subtitle", "log", "text", "send", "mic", "ptt",
    "interrupt", "upload", "hangup", "language", "notice", "enable-storage", "share", "copy", "clear",
)  # fmt: skip
"""Ids that other pages, tests and users' scripts may rely on."""

SERVER_ERRORS = (
    "bad_request", "session_not_found", "too_large", "server_full", "rate_limited", "auth_failed", "asr_failed",
    "dialogue_failed", "tts_failed", "face_failed",
)  # fmt: skip
"""Codes of core/errors.py that a page can receive."""

MICROPHONE_ERRORS = ("not_found", "denied", "busy", "insecure", "unsupported", "failed", "ended")
STATES = ("idle", "listening", "recognizing", "thinking", "speaking", "interrupted", "error")


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


@pytest.fixture(scope="module")
def page() -> Elements:
    return Elements(PAGE.read_text(encoding="utf-8"))


def table(path: Path) -> dict[str, str]:
    text = path.read_text(encoding="utf-8")
    pairs = json.loads(text[text.index("{") : text.rindex("}") + 1], object_pairs_hook=list)
    keys = [key for key, _ in pairs]
    assert len(keys) == len(set(keys)), f"{path.name} repeats {sorted({key for key in keys if keys.count(key) > 1})}"
    return dict(pairs)


def code_of(path: Path) -> str:
    """A script without its comments; `://` inside a string is no comment."""
    text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.S)
    return re.sub(r"(?m)(^|\s)//.*$", "", text)


def holes(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


def used_keys(page: Elements) -> tuple[set[str], set[str]]:
    """Keys written out in the page and scripts, and the fixed beginnings of those put together at run time."""
    keys = {key for name in ("data-i18n", "data-i18n-label", "data-i18n-placeholder") for key in page.values(name)}
    beginnings: set[str] = set()
    for path in SCRIPTS:
        text = code_of(path)
        keys |= set(re.findall(r"""\bt\(\s*"([^"]+)\"""", text)) | set(re.findall(r"""i18n = "([^"]+)\"""", text))
        for arguments in re.findall(r"\bt\(([^()]*\?[^()]*)\)", text):
            keys |= set(re.findall(r'"([a-z_]+\.[a-z_.]+)"', arguments))
        beginnings |= {start for start in re.findall(r"`([a-z]+\.[a-z.]*)\$\{", text) if start.rstrip(".")}
    return keys, beginnings


def test_both_languages_have_the_same_keys_and_holes() -> None:
    english, chinese = (table(WEB / "i18n" / f"{tag}.js") for tag in ("en", "zh"))
    assert english.keys() == chinese.keys()
    for key in english:
        assert holes(english[key]) == holes(chinese[key]), key
        assert bool(english[key].strip()) == bool(chinese[key].strip()), key


def test_every_key_that_is_used_exists(page: Elements) -> None:
    keys, _ = used_keys(page)
    assert len(keys) > 40, "the search for keys no longer finds them"
    assert sorted(keys - table(WEB / "i18n/en.js").keys()) == []


def test_no_key_is_left_over(page: Elements) -> None:
    keys, beginnings = used_keys(page)
    unused = [
        key for key in table(WEB / "i18n/en.js") if key not in keys and not key.startswith(tuple(sorted(beginnings)))
    ]
    assert unused == []


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.name)
def test_messages_for_every_state_and_failure(path: Path) -> None:
    words = table(path)
    wanted = [f"state.{state}" for state in STATES]
    wanted += [
        f"error.{code}{part}" for code in (*SERVER_ERRORS, "network", "ice_failed", "lost") for part in ("", ".text")
    ]
    wanted += [f"mic.{code}{part}" for code in MICROPHONE_ERRORS for part in ("", ".text")]
    assert [key for key in wanted if key not in words] == []


def test_ids_are_unique_and_the_public_ones_exist(page: Elements) -> None:
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert [name for name in PUBLIC_IDS if name not in ids] == []


def test_scripts_refer_only_to_existing_ids(page: Elements) -> None:
    ids = set(page.values("id"))
    named = {name for path in SCRIPTS for name in re.findall(r"""(?:\$|getElementById)\("([\w-]+)"\)""", code_of(path))}
    assert named, "the search for ids no longer finds them"
    assert sorted(named - ids) == []


def test_labels_refer_to_existing_ids(page: Elements) -> None:
    ids = set(page.values("id"))
    referred = {name for attribute in ("aria-labelledby", "for") for name in page.values(attribute)}
    assert sorted(referred - ids) == []


def test_every_button_has_a_name_and_a_type(page: Elements) -> None:
    named_by_script = {"language", "mic", "start", "hangup", "retry", "confirm-yes"}
    for tag, attributes in page.found:
        if tag != "button":
            continue
        assert attributes.get("type"), attributes
        own = (
            attributes.get("data-i18n-label") or attributes.get("data-i18n") or attributes.get("id") in named_by_script
        )
        assert own or attributes.get("id") in {"unmute", "talk", "copy", "clear"}, attributes


def test_live_regions(page: Elements) -> None:
    by_id = {attributes["id"]: attributes for _, attributes in page.found if "id" in attributes}
    assert by_id["log"]["role"] == "log"
    assert by_id["log"]["aria-live"] == "polite"
    assert by_id["status"]["role"] == "status"
    assert by_id["notice"]["aria-live"] == "assertive"
    assert by_id["subtitle"]["aria-live"] == "off", "the log says the same words already"


@pytest.mark.parametrize("path", [PAGE, *SCRIPTS, *TABLES, *STYLES, *DRAWINGS], ids=lambda path: path.name)
def test_nothing_comes_from_outside(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    text = text.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"""(?:https?|wss?):?//[\w.]""", text)
    assert not re.search(r"""["'(]//[\w.]""", text)
    assert not re.search(r"@import|\bdata:[a-z]+/", text)


def test_nothing_that_a_strict_policy_forbids(page: Elements) -> None:
    for tag, attributes in page.found:
        assert "style" not in attributes, f"inline style on {tag}"
        assert not [name for name in attributes if name.startswith("on")], f"inline handler on {tag}"
        assert tag != "style"
        assert tag != "script" or attributes.get("src")
    for path in SCRIPTS:
        text = code_of(path)
        assert not re.search(r"\beval\(|new Function|innerHTML|outerHTML|insertAdjacentHTML|document\.write", text), (
            path
        )


def test_files_that_are_named_exist_and_are_relative(page: Elements) -> None:
    names = [name for name in (*page.values("src"), *page.values("href")) if not name.startswith("#")]
    assert names
    for name in names:
        assert name.startswith("./"), f"{name} would break below a proxy's prefix"
        assert (WEB / name).is_file(), name


def test_icons_exist(page: Elements) -> None:
    used = {name[1:] for name in page.values("href") if name.startswith("#")}
    used |= {f"icon-{name}" for path in SCRIPTS for name in re.findall(r'icon\("(\w+)"\)', code_of(path))}
    drawn = {attributes["id"] for tag, attributes in page.found if tag == "symbol"}
    assert used == drawn


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_imports_resolve(path: Path) -> None:
    pattern = re.compile(r"""^import (?:(?P<default>\w+)|\{(?P<names>[^}]*)\}) from "(?P<file>[^"]+)";""", re.M)
    imports = list(pattern.finditer(path.read_text(encoding="utf-8")))
    assert len(imports) == len(re.findall(r"^import ", path.read_text(encoding="utf-8"), re.M))
    for found in imports:
        target = (path.parent / found["file"]).resolve()
        assert target.is_file(), f"{path.name} imports {found['file']}"
        text = target.read_text(encoding="utf-8")
        if found["default"]:
            assert "export default" in text
            continue
        for name in re.split(r"\s*,\s*", found["names"].strip()):
            assert re.search(rf"^export (?:async )?(?:function|class|const) {name}\b", text, re.M), (
                f"{target.name}: {name}"
            )


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_every_import_is_used(path: Path) -> None:
    text = code_of(path)
    body = re.sub(r"(?m)^import .*$", "", text)
    for names in re.findall(r"(?m)^import (?:\{)?([^}]*?)(?:\})? from", text):
        for name in re.split(r"\s*,\s*", names.strip()):
            assert re.search(rf"\b{name}\b", body), f"{path.name} does not use {name}"


def test_every_script_and_style_is_part_of_the_page(page: Elements) -> None:
    imported = {
        name
        for path in SCRIPTS
        for name in re.findall(r'(?:from |loadWorklet\([#.\w]+, )"[./\w]*/([\w.]+)"', path.read_text(encoding="utf-8"))
    }
    assert {path.name for path in SCRIPTS} - imported == {"app.js", "early.js"}
    pages = "".join(path.read_text(encoding="utf-8") for path in WEB.glob("*.html"))
    assert [path.name for path in WEB.glob("css/*.css") if f"./css/{path.name}" not in pages] == []


def test_style_variables_are_defined() -> None:
    styles = "".join(path.read_text(encoding="utf-8") for path in STYLES)
    scripts = "".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    defined = set(re.findall(r"(--[\w-]+)\s*:", styles)) | set(re.findall(r'setProperty\("(--[\w-]+)"', scripts))
    used = set(re.findall(r"var\((--[\w-]+)", styles))
    assert sorted(used - defined) == []


def test_motion_and_colour_follow_the_users_preferences() -> None:
    theme = (WEB / "css/theme.css").read_text(encoding="utf-8")
    assert "prefers-reduced-motion: reduce" in theme
    assert "prefers-color-scheme: dark" in theme
    assert ":focus-visible" in theme
