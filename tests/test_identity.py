"""Session ids, usernames, signed tokens, the kept secret."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import re
import stat
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadRequest, EmanError, SettingsError, Unauthorized
from core.identity import (
    MIN_SECRET,
    Tokens,
    kept_secret,
    new_session_id,
    normalize_username,
    session_id_of,
    username_of,
    visitor_link,
)

ROOT = Path(__file__).parent.parent
SECRET = "a secret that is long enough"
IDS = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.text(min_size=1, max_size=64).filter(lambda text: text.isprintable() and text.strip() == text != ""),
)


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    return Tokens(SECRET, 3600)


def refused(tokens: Tokens, token: Any, session_id: str = "1") -> str:
    """The refusal's text; the test fails when there is none."""
    with pytest.raises(Unauthorized) as caught:
        tokens.check(token, session_id)
    with pytest.raises(Unauthorized):
        tokens.check_visitor(token)
    return str(caught.value)


def signed(claims: dict[str, Any], algorithm: str = "HS256") -> str:
    """A token with these claims, signed with our key. It is made as it ever was: another way logs everybody out."""
    key = hashlib.sha256(b"eman tokens\0" + SECRET.encode()).digest()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is short for HS512
        return jwt.encode(claims, key, algorithm=algorithm)


def part(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


# -- usernames and ids


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("User_204346", "User_204346"), ("user_204346", "User_204346"), ("USER_204346", "User_204346"),
        ("  uSeR_204346 \n", "User_204346"), ("User_user_1", "User_user_1"), ("User_", "User_"), ("user", "user"),
        ("Alice", "Alice"), ("my user_1", "my user_1"), ("User_Ünï-日本", "User_Ünï-日本"),
        ("u\u017fer_1", "u\u017fer_1"),
        ("user_a\nb", "User_a\nb"), ("", ""), ("User__1", "User__1"),
    ],
)  # fmt: skip
def test_b1_normalised_case_insensitively_on_the_prefix(name: str, key: str) -> None:
    assert normalize_username(name) == key


@given(st.text(max_size=80))
def test_b1_normalising_twice_changes_nothing(name: str) -> None:
    once = normalize_username(name)
    assert normalize_username(once) == once


@given(IDS, st.sampled_from(["User_", "user_", "USER_", " uSER_"]))
def test_b1_every_spelling_of_a_sessions_username_is_its_username(session_id: str, prefix: str) -> None:
    assert normalize_username(prefix + session_id) == username_of(session_id) == f"User_{session_id}"


def test_b1_user_0_when_the_session_is_unknown() -> None:
    assert username_of(None) == username_of("") == "User_0"


def test_b1_only_one_function_makes_usernames() -> None:
    makers = re.compile(r"""f["']User_\{""")
    found = [
        path.relative_to(ROOT).as_posix()
        for folder in ("core", "asr", "avatar")
        for path in (ROOT / folder).rglob("*.py")
        if makers.search(path.read_text(encoding="utf-8")) and path.parent.name != "openapi"  # has examples
    ]
    assert found == ["core/identity.py"]


def test_a3_ids_are_text_whether_they_came_as_number_or_text() -> None:
    assert session_id_of(204346) == session_id_of("204346") == session_id_of(" 204346 ") == "204346"
    for wrong in (None, True, 1.5, [], {}, "", " ", "x" * 65, "a\0b", "\ud800", 10**64):
        with pytest.raises(BadRequest):
            session_id_of(wrong)


def test_a3_new_ids_are_numbers_that_javascript_keeps_exactly() -> None:
    made = {new_session_id() for _ in range(1000)}
    assert len(made) == 1000
    assert all(float(text) == int(text) < 2**53 and len(text) == 16 for text in made)


# -- tokens


@given(IDS)
def test_k1_a_token_proves_its_session(tokens: Tokens, session_id: str) -> None:
    tokens.check(tokens.issue(session_id), session_id)


@given(IDS, IDS)
def test_k1_and_no_other_session(tokens: Tokens, mine: str, other: str) -> None:
    if mine != other:
        with pytest.raises(Unauthorized):
            tokens.check(tokens.issue(mine), other)


def test_k1_a_visitors_token_opens_no_session_and_the_other_way_round(tokens: Tokens) -> None:
    visitor, session = tokens.issue_visitor(60), tokens.issue("visitor")
    tokens.check_visitor(visitor)
    with pytest.raises(Unauthorized):
        tokens.check(visitor, "visitor")
    with pytest.raises(Unauthorized):
        tokens.check_visitor(session)


def test_k1_tokens_expire() -> None:
    an_hour_ago = Tokens(SECRET, 600, clock=lambda: time.time() - 3600)
    refused(Tokens(SECRET, 600), an_hour_ago.issue("1"))
    refused(Tokens(SECRET, 600), an_hour_ago.issue_visitor(600))
    an_hour_ago.check_visitor(an_hour_ago.issue_visitor(7200))


def test_k1_servers_with_one_secret_accept_each_others_tokens_whose_clocks_differ_a_little() -> None:
    ahead = Tokens(SECRET + "\n", 600, clock=lambda: time.time() + 20)
    Tokens(SECRET, 600).check(ahead.issue("1"), "1")


def test_k1_another_secret_is_refused(tokens: Tokens) -> None:
    refused(tokens, Tokens(SECRET + "!", 3600).issue("1"))


def test_k1_every_claim_is_required_and_of_its_type(tokens: Tokens) -> None:
    good = {"aud": "eman-session", "sub": "1", "exp": int(time.time()) + 60}
    tokens.check(signed(good), "1")
    for name in good:
        refused(tokens, signed({key: value for key, value in good.items() if key != name}))
    for name, wrong in [
        ("aud", ["eman-session"]), ("aud", "eman-admin"), ("aud", ""), ("aud", None), ("sub", ""), ("sub", "1 "),
        ("exp", None), ("exp", "never"), ("exp", 0), ("exp", []),
    ]:  # fmt: skip
        refused(tokens, signed({**good, name: wrong}))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "HS512", "RS256", "", None, 0, [], {}, "HS256 "])
def test_k1_only_our_algorithm_counts(tokens: Tokens, algorithm: object) -> None:
    _, body, mark = tokens.issue("1").split(".")
    for signature in ("", mark):
        refused(tokens, f"{part({'alg': algorithm, 'typ': 'JWT'})}.{body}.{signature}")
    refused(tokens, f"{part({'typ': 'JWT'})}.{body}.{mark}")


def test_k1_a_token_signed_with_nothing_is_refused(tokens: Tokens) -> None:
    claims = {"aud": "eman-session", "sub": "1", "exp": int(time.time()) + 60}
    refused(tokens, jwt.encode(claims, None, algorithm="none"))  # type: ignore[arg-type]
    refused(tokens, jwt.encode(claims, b"0" * 64, algorithm="HS512"))
    refused(tokens, signed(claims, "HS512"))
    refused(tokens, jwt.encode(claims, SECRET.encode().ljust(32, b"\0"), algorithm="HS256"))


def test_k1_no_bit_of_a_token_can_be_changed(tokens: Tokens) -> None:
    token = tokens.issue("1")
    for place, letter in enumerate(token):
        for other in ("A", "B", ".", "=", " "):
            if other != letter:
                refused(tokens, token[:place] + other + token[place + 1 :])
    for wrong in (token + "A", token + ".", token + "=", " " + token, token[:-1], token * 2, token + "\n"):
        refused(tokens, wrong)


@pytest.mark.parametrize(
    "token",
    [
        None, "", " ", ".", "..", "a.b.c", "null", "undefined", "é.è.ê", "\ud800.a.b", "🔑" * 100, "A" * 4097,
        "A" * 10_000_000, "." * 4000, f"{part(b'[' * 2900)}.e30.", f"{part(b'{' * 2900)}.e30.",
        f"{part({'alg': 'HS256', 'kid': 5})}.e30.", f"{part({'alg': 'HS256', 'crit': ['x']})}.e30.",
        f"{part({'alg': 'HS256', 'b64': False, 'crit': ['b64']})}..", f"{part([])}.e30.AAAA",
        f"{part(b'9' * 2000)}.e30.",
    ],
)  # fmt: skip
def test_k1_nonsense_is_refused_and_breaks_nothing(tokens: Tokens, token: str | None) -> None:
    refused(tokens, token)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
HEADERS = st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jwk", "zip"]), JSON, max_size=4)


@given(HEADERS, JSON, st.binary(max_size=40))
def test_k1_fuzz_no_forged_token_passes_or_raises_anything_else(
    tokens: Tokens, header: dict[str, Any], claims: object, signature: bytes
) -> None:
    for alg in (header.get("alg", "HS256"), "HS256"):
        refused(tokens, f"{part({**header, 'alg': alg})}.{part(claims)}.{part(signature)}")


@given(st.text(max_size=200))
def test_k1_fuzz_arbitrary_text_is_no_token(tokens: Tokens, text: str) -> None:
    refused(tokens, text)


def test_k1_every_refusal_says_the_same_and_nothing_secret(tokens: Tokens) -> None:
    expired = Tokens(SECRET, 600, clock=lambda: time.time() - 3600).issue("1")
    said = {refused(tokens, token) for token in (None, "x", expired, tokens.issue("2"))}
    assert said == {"the session's token is missing or wrong"}


@pytest.mark.parametrize("secret", ["", " ", "short", " " * 40, "x" * (MIN_SECRET - 1)])
def test_k1_a_secret_that_can_be_guessed_is_no_secret(secret: str) -> None:
    with pytest.raises(SettingsError, match=r"auth\.secret") as caught:
        Tokens(secret, 60)
    assert "short" not in str(caught.value)


def test_k1_an_access_link_leads_to_the_page_and_no_proxy_sees_its_token() -> None:
    assert visitor_link("https://a.example/", "T") == "https://a.example/webrtcapichat.html#token=T"


# -- the kept secret


def test_k1_the_secret_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "secret"
    secret = kept_secret(path)
    assert len(secret) >= 32
    assert kept_secret(path) == secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["secret"]
    assert kept_secret(tmp_path / "other") != secret


def test_k1_processes_that_start_at_once_get_the_same_secret(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from core.identity import kept_secret\n"
    code += "sys.stdin.read()\nprint(kept_secret(Path(sys.argv[1])))"
    command = [sys.executable, "-c", code, str(tmp_path / "secret")]
    started = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.close()  # all go now
        process.stdin = None
    secrets = {process.communicate(timeout=60)[0] for process in started}
    assert len(secrets) == 1
    assert os.listdir(tmp_path) == ["secret"]


def test_k1_a_secret_that_others_could_read_is_closed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "secret"
    path.write_text("f" * 64 + "\n")
    path.chmod(0o644)
    assert kept_secret(path) == "f" * 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "f" * 64 not in caplog.text


@pytest.mark.parametrize("content", [b"", b"\n", b"short", b"\xff" * 64])
def test_k1_a_damaged_file_gives_a_passing_secret_and_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        first, second = kept_secret(path), kept_secret(path)
    assert first != second
    assert min(len(first), len(second)) >= 32
    assert path.read_bytes() == content
    assert "passing secret" in caplog.text
    assert first not in caplog.text


@pytest.mark.parametrize("place", ["file/secret", "."])
def test_k1_where_nothing_can_be_kept_there_is_a_passing_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        assert kept_secret(tmp_path / place) != kept_secret(tmp_path / place)
    assert "passing secret" in caplog.text


def test_k1_refusals_are_of_our_own_kind() -> None:
    assert issubclass(Unauthorized, EmanError)
    assert Unauthorized.code == "auth_failed"
