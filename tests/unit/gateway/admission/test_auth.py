"""API keys: hashed in a file, compared in constant time, never guessed from the answer."""

import pytest

from services.core.errors import ConfigError, UnauthorizedError
from services.gateway.admission import auth
from services.gateway.admission.auth import ApiKeys, hash_key


@pytest.fixture
def keys(tmp_path) -> ApiKeys:
    file = tmp_path / "keys.txt"
    file.write_text(f"# clients\n\nalice {hash_key('a-secret')}\nbob {hash_key('b-secret')}\n")
    return ApiKeys.from_file(str(file))


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"authorization": "Bearer a-secret"}, "alice"),
        ({"authorization": "bearer b-secret"}, "bob"),
        ({"x-api-key": "b-secret"}, "bob"),
    ],
)
def test_a_known_key_names_its_client(keys, headers, name):
    assert keys.client(headers.get) == name


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Basic YTpi"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer wrong"},
        {"x-api-key": hash_key("a-secret")},
        {"x-api-key": "\udcff"},
    ],
)
def test_anything_else_is_unauthorized(keys, headers):
    with pytest.raises(UnauthorizedError):
        keys.client(headers.get)


@pytest.mark.parametrize("line", ["alice", "alice 1234", f"alice {'g' * 64}", f"alice smith {hash_key('x')}"])
def test_a_line_that_is_no_key_is_named(tmp_path, line):
    file = tmp_path / "keys.txt"
    file.write_text(f"# clients\n{line}\n")

    with pytest.raises(ConfigError, match=r"keys\.txt:2"):
        ApiKeys.from_file(str(file))


def test_a_client_that_changes_its_key_may_use_both(tmp_path):
    """The second line of a name made the first key unknown."""
    file = tmp_path / "keys.txt"
    file.write_text(f"alice {hash_key('old')}\nalice {hash_key('new')}\n")
    keys = ApiKeys.from_file(str(file))

    assert [keys.client({"x-api-key": key}.get) for key in ("old", "new")] == ["alice", "alice"]


def test_a_file_that_is_not_text_is_a_wrong_setting(tmp_path):
    (tmp_path / "keys.txt").write_bytes(b"alice \xff")

    with pytest.raises(ConfigError, match="API_KEYS_FILE"):
        ApiKeys.from_file(str(tmp_path / "keys.txt"))


def test_a_missing_file_is_a_wrong_setting(tmp_path):
    with pytest.raises(ConfigError, match="API_KEYS_FILE"):
        ApiKeys.from_file(str(tmp_path / "none"))


def test_the_command_makes_a_key_that_works(tmp_path, capsys):
    assert auth.main(["carol"]) == 0

    line, told = capsys.readouterr()
    (tmp_path / "keys.txt").write_text(line)
    key = told.strip().rpartition(" ")[2]
    assert key not in line
    assert ApiKeys.from_file(str(tmp_path / "keys.txt")).client({"x-api-key": key}.get) == "carol"
