"""What `make up` makes of the environment and .env."""

import pytest

from deploy.stack.errors import StackError
from deploy.stack.settings import ROOT, Settings, make_folder, parse_env


def test_defaults_need_no_file(tmp_path):
    settings = Settings.load({}, tmp_path / ".env")

    assert settings.url == "http://127.0.0.1:8080"
    assert (settings.denoiser_port, settings.classifier_port) == (8500, 8510)
    assert settings.models == ROOT / "models"


def test_environment_wins_over_the_file(tmp_path):
    file = tmp_path / ".env"
    file.write_text("CLEARDIGITS_GATEWAY_PORT=1111\nCLEARDIGITS_DENOISER_PORT=2222\n")
    settings = Settings.load({"CLEARDIGITS_GATEWAY_PORT": "3333"}, file)

    assert (settings.port, settings.denoiser_port) == (3333, 2222)
    assert settings.environ["CLEARDIGITS_DENOISER_PORT"] == "2222"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("KEY=value", "value"),
        ("KEY = value ", "value"),
        ("export KEY=value", "value"),
        ("KEY='a b # c'", "a b # c"),
        ('KEY="a=b"', "a=b"),
        ("KEY=value # why", "value"),
        ("KEY=va#lue", "va#lue"),
        ("KEY=", ""),
    ],
)
def test_line_is_read_as_compose_reads_it(line, value):
    assert parse_env(f"# a comment\n\n{line}\n", ".env") == {"KEY": value}


@pytest.mark.parametrize("line", ["no equals sign", "=value", "TWO WORDS=x", "1KEY=x"])
def test_line_that_is_no_setting_is_named_with_its_number(line):
    with pytest.raises(StackError, match=r"^\.env, line 2: expected KEY=value"):
        parse_env(f"OK=1\n{line}\n", ".env")


@pytest.mark.parametrize("text", ["http", "0", "65536", "-1", "8080.5"])
def test_port_that_is_none_is_refused_by_name(tmp_path, text):
    with pytest.raises(StackError, match=f"CLEARDIGITS_DENOISER_PORT: {text} is not a port"):
        Settings.load({"CLEARDIGITS_DENOISER_PORT": text}, tmp_path / ".env")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("10.0.0.5", "http://10.0.0.5:8080"),
        ("::", "http://[::1]:8080"),
        ("::1", "http://[::1]:8080"),
    ],
)
def test_url_is_one_that_this_machine_can_open(tmp_path, host, url):
    assert Settings.load({"CLEARDIGITS_GATEWAY_HOST": host}, tmp_path / ".env").url == url


def test_a_file_that_is_not_utf_8_is_one_line(tmp_path):
    file = tmp_path / ".env"
    file.write_bytes(b"CLEARDIGITS_MODELS=/srv/B\xfccher\n")

    with pytest.raises(StackError, match=r"^\.env is not UTF-8: .* at byte 25$"):
        Settings.load({}, file)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(StackError, match=r"file/log cannot be made .*CLEARDIGITS_VAR"):
        make_folder(tmp_path / "file/log")
