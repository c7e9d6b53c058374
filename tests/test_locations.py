"""Where prepared data sets go when nobody says where."""

import os
from pathlib import Path

import pytest

from alexnet_jax.locations import default_data_dir


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in ("ALEXNET_DATA_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_the_cache_of_the_user_by_default(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_data_dir() == tmp_path / ".cache" / "alexnet_jax" / "data"


def test_the_cache_that_the_user_chose(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_data_dir() == tmp_path / "alexnet_jax" / "data"


def test_a_relative_cache_is_ignored_as_the_standard_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    assert default_data_dir() == tmp_path / ".cache" / "alexnet_jax" / "data"


def test_our_own_variable_comes_first_and_becomes_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("ALEXNET_DATA_DIR", "sets")
    assert default_data_dir() == tmp_path / "sets"


def test_a_user_without_a_home_gets_a_folder_of_their_own(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for home in (tmp_path / "missing", Path("/")):
        monkeypatch.setenv("HOME", str(home))
        assert default_data_dir() == tmp_path / f"alexnet_jax-{os.getuid()}" / "data"
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert default_data_dir().is_relative_to(tmp_path)
