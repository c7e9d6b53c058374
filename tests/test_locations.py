"""Where prepared data sets and compiled programs go when nobody says where."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from alexnet_jax import locations
from alexnet_jax.locations import compilation_cache_dir, default_data_dir, use_compilation_cache

CACHE_SETTINGS = (
    "JAX_COMPILATION_CACHE_DIR",
    "JAX_COMPILATION_CACHE_MAX_SIZE",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS",
)


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in ("ALEXNET_DATA_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in CACHE_SETTINGS:
        monkeypatch.setenv(name, "")  # so that it is as it was after the test, set or not
        monkeypatch.delenv(name)


@pytest.fixture
def before_jax(monkeypatch, tmp_path):
    """A process that has not imported JAX, of a user whose cache folder is `tmp_path`."""
    monkeypatch.setattr(locations, "sys", SimpleNamespace(modules={}))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


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


def test_compiled_programs_go_to_a_private_folder_of_the_cache(before_jax, tmp_path):
    folder = use_compilation_cache()
    assert folder and folder == compilation_cache_dir() and folder.is_relative_to(tmp_path)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(folder)
    assert int(os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"]) > 0


def test_each_processor_has_compiled_programs_of_its_own(monkeypatch):
    here = compilation_cache_dir()
    assert compilation_cache_dir() == here
    monkeypatch.setattr(locations, "_processor", lambda: ["model name : another"])
    assert compilation_cache_dir() != here and compilation_cache_dir().parent == here.parent


@pytest.mark.parametrize("own", ["elsewhere", ""])
def test_the_users_own_setting_of_jax_stays(before_jax, monkeypatch, own, tmp_path):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", own)
    assert use_compilation_cache() is None
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == own and not list(tmp_path.iterdir())


def test_a_size_that_the_user_chose_stays(before_jax, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_MAX_SIZE", "-1")
    assert use_compilation_cache()
    assert os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"] == "-1"


def test_a_process_that_has_jax_already_is_left_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(locations, "sys", SimpleNamespace(modules={"jax": None}))
    assert use_compilation_cache() is None and "JAX_COMPILATION_CACHE_DIR" not in os.environ


def test_no_compiled_programs_where_the_folder_cannot_be_made(before_jax, tmp_path):
    (tmp_path / "alexnet_jax").write_text("a file")
    assert use_compilation_cache() is None and "JAX_COMPILATION_CACHE_DIR" not in os.environ


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_folder_that_everybody_may_write_is_not_trusted(before_jax, depth):
    folder = compilation_cache_dir()
    folder.mkdir(parents=True)
    [folder, *folder.parents][depth].chmod(0o777)
    assert use_compilation_cache() is None and "JAX_COMPILATION_CACHE_DIR" not in os.environ
