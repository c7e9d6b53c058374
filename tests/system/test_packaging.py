"""The wheel has everything: installed alone, it gives the command and the default run."""

import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
import yaml

import alexnet_jax

ROOT = Path(__file__).resolve().parents[2]
OFFLINE = (
    "No matching distribution found for setuptools|NewConnectionError|Temporary failure in name"
)


def run(*words, **options):
    return subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=280, **options
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of what git has here, built as pip builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = run("git", "ls-files", "-co", "--exclude-standard", "-z", cwd=ROOT)
    if listed.returncode:
        pytest.skip("the sources are in no git repository, which says what belongs to them")
    for name in filter(None, listed.stdout.split("\0")):
        if name.startswith(("alexnet_jax/", "pyproject", "requirements", "README", "LICENSE")):
            copy = folder / "source" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((ROOT / name).read_bytes())
    words = ["wheel", "--no-deps", "--quiet", "-w", folder, folder / "source"]
    if importlib.util.find_spec("setuptools") and importlib.util.find_spec("wheel"):
        words.insert(1, "--no-build-isolation")
    built = run(sys.executable, "-m", "pip", *words)
    if built.returncode and re.search(OFFLINE, built.stderr):
        pytest.skip(f"pip cannot fetch what builds a wheel: {built.stderr.strip()[-200:]}")
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.slow
def test_no_file_and_no_requirement_is_missing(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = [name for name in names if name.endswith("METADATA")]
        text = archive.read(metadata).decode()
    sources = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "alexnet_jax").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert sources <= names
    assert not {name for name in names if name.startswith(("tests/", "experiments/"))}
    wanted = re.findall(r"^([a-z][\w-]*)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    required = set(re.findall(r"^Requires-Dist: ([\w-]+)(?!.*extra ==)", text, re.MULTILINE))
    assert wanted and set(wanted) <= required
    assert f"Version: {alexnet_jax.__version__}" in text


def test_the_citation_is_of_this_version():
    text = (ROOT / "alexnet_jax" / "CITATION.cff").read_text()
    assert f"\nversion: {alexnet_jax.__version__}\n" in text
    changes = (ROOT / "alexnet_jax" / "CHANGELOG.md").read_text()
    assert f"\n## {alexnet_jax.__version__} " in changes


@pytest.mark.slow
def test_installed_alone_it_is_the_command_and_trains(wheel, tmp_path):
    """In an environment that has the requirements, by a path, and nothing of this checkout."""
    place = tmp_path / "environment"
    assert run(sys.executable, "-m", "venv", "--without-pip", place).returncode == 0
    python = place / "bin" / "python"
    packages = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    site = Path(packages.stdout.strip())
    done = run(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "-q", wheel
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # A path in a .pth file leads to packages, but not to what an editable install adds to them.
    (site / "requirements.pth").write_text(sysconfig.get_path("purelib") + "\n")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"ALEXNET_DATA_DIR": str(tmp_path / "data")}
    where = run(
        python, "-c", "import alexnet_jax; print(alexnet_jax.__file__)",
        cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert str(site) in where.stdout, where.stdout + where.stderr
    words = ["--workdir", "runs", "--epochs", "0.2", "--final-views", "1"]
    done = run(place / "bin" / "alexnet", *words, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert "test error" in done.stdout
    for name in ("report.html", "model_card.md", "metrics.csv"):
        assert (tmp_path / "runs" / name).stat().st_size > 0
    assert run(place / "bin" / "alexnet", "presets", env=environment).stdout.startswith("digits:")


def test_the_workflow_runs_what_a_maintainer_runs():
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    (job,) = yaml.safe_load(text)["jobs"].values()
    assert {"run": ".ci/run"} in job["steps"]
