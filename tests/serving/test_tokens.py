import pytest

from cxr_transfer.errors import UsageError
from cxr_transfer.serving.tokens import Tokens, read_tokens

WARD, ARCHIVE = "ward-token-0123456789", "archive-token-0123456789"


def test_a_token_has_a_name_wherever_it_stands(tmp_path):
    (tmp_path / "tokens").write_text(f"# who may ask\n\nward-3 = {WARD}\n")
    environment = {"CXR_TOKENS": f"archive={ARCHIVE}", "CXR_TOKEN": "only-0123456789abcdef"}
    tokens = read_tokens(None, tmp_path / "tokens", environment)
    assert list(tokens) == ["token", "archive", "ward-3"]
    known = Tokens(tokens)
    assert known.name(f"Bearer {WARD}") == "ward-3"
    assert known.name(f"bearer {ARCHIVE}") == "archive"
    for other in ("", WARD, f"Basic {WARD}", f"Bearer {WARD}x", "Bearer ", "Bearer ward-3"):
        assert known.name(other) is None
    assert not Tokens({})


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (WARD, "bad_tokens"),
        (f"Dr. Doe={WARD}", "bad_tokens"),
        (f"={WARD}", "bad_tokens"),
        (f"a={WARD}\na={ARCHIVE}", "bad_tokens"),
        (f"a={WARD}\nb={WARD}", "bad_tokens"),
        ("", "bad_tokens"),
        ("a=short", "bad_token"),
        (f"a={WARD} {WARD}", "bad_token"),
    ],
)
def test_what_is_no_token_with_a_name_is_refused_and_not_quoted(tmp_path, text, code):
    (tmp_path / "tokens").write_text(text)
    with pytest.raises(UsageError) as caught:
        read_tokens(None, tmp_path / "tokens", {})
    assert caught.value.code == code
    assert WARD not in caught.value.message


def test_a_file_that_is_not_there_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(UsageError) as caught:
            read_tokens(None, path, {})
        assert caught.value.code == "bad_tokens"
