"""What import-linter does not see: what is really imported, and what lies in the files."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path, PurePath

import pytest

import alexnet_jax
from alexnet_jax.main import VERBS

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "alexnet_jax"
HEAVY = (
    "jax jaxlib chex flax optax orbax grain tensorflow_datasets numpy PIL matplotlib sklearn"
).split()


def python(program):
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_building_every_parser_imports_nothing_heavy():
    program = f"""
import contextlib, io, sys
from alexnet_jax.main import main
for verb in {list(VERBS)}:
    with contextlib.redirect_stdout(io.StringIO()) as page:
        assert main([verb, "--help"]) == 0
    assert "usage" in page.getvalue()
print([name for name in {HEAVY} if name in sys.modules])
"""
    assert python(program) == "[]\n"


def test_importing_the_package_imports_nothing_at_all_until_a_name_is_used():
    program = f"""
import sys, alexnet_jax
print([name for name in {HEAVY} if name in sys.modules])
alexnet_jax.PRESETS, alexnet_jax.NETWORKS, alexnet_jax.Config
print([name for name in {HEAVY} if name in sys.modules])
"""
    assert python(program) == "[]\n[]\n"


def test_training_never_so_much_as_asks_for_tensorflow_or_torch(tmp_path):
    # Installed or not: a finder in front of all others notes every attempt to import them.
    program = f"""
import sys
from pathlib import Path
class Finder:
    asked = []
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "torch"):
            self.asked.append(name)
sys.meta_path.insert(0, Finder())
import alexnet_jax
alexnet_jax.train, alexnet_jax.load, alexnet_jax.AlexNet
assert "alexnet_jax.training.train" in sys.modules and "jax" in sys.modules
from alexnet_jax.runs.metrics_log import MetricsLog
folder = Path({str(tmp_path)!r})
log = MetricsLog(folder, 0)
assert "tensorboardX" not in sys.modules  # not before it has something to write
log.add(dict(step=1, epoch=0.5, loss=2.0))
log.close()
assert list((folder / "tensorboard").iterdir()) and "torch" not in sys.modules
print(Finder.asked)
"""
    assert python(program) == "[]\n"


OPTIONAL = "torch torchvision tensorflow onnx onnxruntime starlette uvicorn playwright matplotlib"


def test_programs_are_imported_and_asked_for_help_without_any_optional_package():
    # A page's command must be understood, and say what is missing, where a package is not there.
    programs = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / "experiments").rglob("*.py"))
        if re.search(r"\bparse_\w*args\(", path.read_text("utf-8"))
    ]
    assert len(programs) > 20
    program = f"""
import contextlib, importlib, io, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {OPTIONAL.split()}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
for name in {programs}:
    sys.argv = [name, "--help"]
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as page:
        importlib.import_module(name).main()
    assert "usage" in page.getvalue(), name
"""
    python(program)


def test_public_names_resolve_and_others_do_not():
    for name in alexnet_jax.__all__:
        assert getattr(alexnet_jax, name) is not None
    assert set(alexnet_jax.__all__) <= set(dir(alexnet_jax))
    with pytest.raises(AttributeError, match="tarin"):
        alexnet_jax.tarin  # noqa: B018


def imports_of(path):
    """Top-level names of the modules that a file imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.partition(".")[0]


def test_requirements_name_every_imported_package_and_neither_tensorflow_nor_torch():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    names = {re.split(r"[^\w.-]", line)[0] for line in lines if line and not line.startswith("#")}
    required = {re.sub(r"[-_.]+", "-", name).lower() for name in names}
    assert not required & {"tensorflow", "tensorflow-cpu", "torch", "torchvision"}
    imported = {name for path in PACKAGE.rglob("*.py") for name in imports_of(path)}
    extras = {"tensorflow", "onnx", "onnxruntime", "flatbuffers", "ai_edge_litert", "pillow_heif"}
    extras |= {"starlette", "uvicorn", "h5py"}
    outside = imported - set(sys.stdlib_module_names) - {"alexnet_jax"} - extras
    homes = metadata.packages_distributions()
    for name in outside:
        distributions = {re.sub(r"[-_.]+", "-", home).lower() for home in homes[name]}
        assert distributions & required, f"{name} ({distributions}) is not in requirements.txt"


def test_every_test_that_needs_pytorch_is_marked_so_that_it_is_run_with_it():
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        whole = "pytestmark = pytest.mark.oracle" in ast.unparse(tree)
        for node in tree.body:
            text = ast.unparse(node)
            if "importorskip('torch'" in text and not whole:
                assert "mark.oracle" in text, f"{path.name}: {getattr(node, 'name', text)}"


def test_every_data_file_of_the_package_is_packed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["alexnet_jax"]
    for path in PACKAGE.rglob("*"):
        if path.is_file() and path.suffix not in (".py", ".pyc"):
            name = PurePath("alexnet_jax") / path.relative_to(PACKAGE)
            assert any(name.match(f"alexnet_jax/{pattern}") for pattern in patterns) or any(
                name.match(pattern.removeprefix("**/")) for pattern in patterns
            ), f"{name} is not in package-data of pyproject.toml"


def text_files():
    """The files of the repository; a source archive without git has no others."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    for name in listing.stdout.split("\0"):
        path = ROOT / name
        if name and path.is_file():
            data = path.read_bytes()
            if b"\0" not in data[:8000]:
                yield name, data.decode("utf-8")


def test_no_file_knows_the_machine_it_was_written_on():
    # Written in pieces, so that this file does not find itself.
    places = ["/ro" + "ot/", "/ho" + "me/", "/wo" + "rk/", "/Us" + "ers/", "/o" + "pt/"]
    options = ["--index" + "-url", "--find" + "-links", "pypi" + ".org", "extra" + "-index"]
    pattern = re.compile("|".join([rf"(?<![\w.}}~]){place}" for place in places] + options))
    found = [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in text_files()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, "\n".join(found)


def test_the_page_lists_the_deviations_that_the_code_marks():
    page = (ROOT / "experiments" / "silent_details" / "README.md").read_text()
    section = page.partition("## Where this library differs")[2].partition("\n## ")[0]
    listed = set(re.findall(r"\(`([\w/]+\.py)`\)", section))
    marked = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if "Deviation:" in path.read_text()
    }
    assert listed == marked
