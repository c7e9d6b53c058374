"""Every example runs: those of docstrings, of README, and the help of the package."""

import dataclasses
import doctest
import importlib
import pydoc
import re
import shlex
from pathlib import Path

import compiling
import numpy as np
import PIL.Image
import pytest
import typed

import alexnet_jax
from alexnet_jax.weights.writers import torch_zip
from experiments.real_weights import trunk

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "alexnet_jax"
GUIDE = sorted((PACKAGE / "guide").glob("*.md"))
PAGES = [ROOT / "README.md", *GUIDE, *sorted((ROOT / "experiments").rglob("README.md"))]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>>" in path.read_text() and path.name != "__init__.py"
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a short run of the default preset in runs/, and a photo.jpg."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch, compiling.few_optimizations():
        patch.chdir(folder)
        patch.setenv("ALEXNET_DATA_DIR", str(folder / "data"))
        short = dataclasses.replace(alexnet_jax.PRESETS["digits"], epochs=0.2, final_views=1)
        patch.setitem(alexnet_jax.PRESETS, "digits", short)
        alexnet_jax.train(short, "runs", say=lambda text: None)
        pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
        PIL.Image.fromarray(pixels).save("photo.jpg")
        torch_zip.write(trunk.random_trunk(seed=0), Path("alexnet-owt-7be5be79.pth"))
        heads = Path("lpips/weights/v0.1/alex.pth")
        heads.parent.mkdir(parents=True)
        channels = enumerate((64, 192, 384, 256, 256))
        arrays = {f"lin{i}.model.1.weight": np.ones((1, n, 1, 1), np.float32) for i, n in channels}
        torch_zip.write(arrays, heads)
        yield folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet_jax", *MODULES])
def test_examples_of_docstrings_hold(home, name, capfd):
    module = importlib.import_module(name)
    names = {name: getattr(alexnet_jax, name) for name in alexnet_jax.__all__}
    names |= {"dataclasses": dataclasses, "PIL": PIL} | vars(module)
    parser, runner = doctest.DocTestFinder(exclude_empty=True), doctest.DocTestRunner()
    tests = [test for test in parser.find(module, name, globs=names) if test.examples]
    assert tests
    for test in tests:
        runner.run(test)
    assert not runner.failures, capfd.readouterr().out


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*WEIGHTS LOOK RANDOM", "ignore:.*FRESH RANDOM VALUES")
@pytest.mark.parametrize("page", [ROOT / "README.md", PACKAGE / "guide" / "python.md"])
def test_the_python_of_a_page_runs(home, page):
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks
    names: dict = {}
    for block in blocks:
        exec(compile(block, page.name, "exec"), names)


def commands(page, module):
    """Yields module and words of each `python -m` in the shell blocks of a page."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    text = "\n".join(blocks).replace("\\\n", "")
    text = re.sub(r"\$\w+", "1", text.replace("$net", "cifar10-13pct"))  # loops
    for name, words in re.findall(rf"python -m ({module})\b([^#;&\x22\n]*)", text):
        yield name, shlex.split(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_commands_of_a_page_are_understood(page):
    found = [words for _, words in commands(page, r"alexnet_jax\.main")]
    for words in found:
        typed.parse_verb(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_commands_of_experiments_are_understood(page):
    for module, words in commands(page, r"experiments[\w.]*"):
        typed.parse_program(module, words)


def test_help_tells_the_whole_interface():
    text = pydoc.render_doc(alexnet_jax, renderer=pydoc.plaintext)  # type: ignore
    for name in set(alexnet_jax.__all__) - {"__version__"}:
        assert re.search(rf"^    (class )?{name}\b", text, re.MULTILINE), name
    assert alexnet_jax.__version__ in text
    for said in ("Networks are data", "Raises:", "float32", ">>> classifier = load("):
        assert said in text, said


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_links_to_is_there(page):
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing
