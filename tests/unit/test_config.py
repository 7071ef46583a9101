"""Settings: where a value comes from, and what is refused."""

from pathlib import Path

import pytest

from engramos.config import NAMES, Settings, load
from engramos.errors import ConfigError


def test_defaults_need_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load({}, {})
    assert settings == Settings()
    assert set(settings.sources.values()) == {"default"}
    assert set(settings.sources) == set(NAMES)


def test_file_then_environment_then_argument(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('user = "of the file"\ntenant = "of the file"\nbatch = 7\n')
    environment = {"ENGRAMOS_CONFIG": str(file), "ENGRAMOS_TENANT": "of the environment", "ENGRAMOS_UNKNOWN": "x"}
    settings = load({"folder": "given", "user": None}, environment)
    assert (settings.user, settings.tenant, settings.batch) == ("of the file", "of the environment", 7)
    assert settings.folder == Path("given")
    assert settings.sources["user"] == str(file)
    assert settings.sources["tenant"] == "ENGRAMOS_TENANT"
    assert settings.sources["folder"] == "argument"


def test_the_file_of_the_folder_comes_before_that_of_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "home" / ".config" / "engramos"
    home.mkdir(parents=True)
    (home / "config.toml").write_text('user = "home"')
    environment = {"HOME": str(tmp_path / "home")}
    assert load({}, environment).user == "home"
    (tmp_path / "engramos.toml").write_text('user = "folder"')
    assert load({}, environment).user == "folder"


def test_an_embedder_may_be_a_table(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('embedder = { method = "hashing", dims = 64, quick = true }')
    settings = load({}, {"ENGRAMOS_CONFIG": str(file)})
    assert settings.embedder == '{ method = "hashing", dims = 64, quick = true }'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('usr = "x"', "did you mean 'user'"),
        ("zzzzzz = 1", "known are"),
        ("user = [", "is no TOML"),
        ("user = 7", "give a text"),
        ('batch = "many"', "whole number"),
        ("batch = 0", "batch is 0"),
        ("index_bytes = 1", "index_bytes"),
        ('durability = "never"', "full or relaxed"),
    ],
)
def test_a_wrong_file_is_refused_with_what_to_do(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load({}, {"ENGRAMOS_CONFIG": str(file)})


def test_a_file_that_is_named_and_missing_is_refused() -> None:
    with pytest.raises(ConfigError, match="is no file"):
        load({}, {"ENGRAMOS_CONFIG": "/nowhere.toml"})


def test_a_key_is_not_shown() -> None:
    assert "secret-key" not in repr(load({"embedder_key": "secret-key"}, {}))
