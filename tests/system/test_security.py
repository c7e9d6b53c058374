"""What this package never does, read from its source; and files that would make others do it."""

import ast
import io
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

import alexnet_jax
from alexnet_jax import files
from alexnet_jax.data.decode import decode_rgb
from alexnet_jax.errors import BadImageError

PACKAGE = Path(alexnet_jax.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
NEVER = {
    "eval", "exec", "compile", "pickle.load", "pickle.loads", "torch.load", "marshal.loads",
    "os.system", "os.popen", "tempfile.mktemp", "yaml.load", "shelve.open",
}  # fmt: skip
NEVER_IMPORTED = {"yaml", "h5py", "keras", "torch", "dill", "cloudpickle", "shelve", "marshal"}
# h5py reads arrays and attributes and makes no code of them; Keras, which does, stays out.
ALLOWED = {"weights/readers/keras.py": {"h5py"}}
NEVER_OF_ARCHIVES = {"extractall", "extract", "unpack_archive"}


def calls(tree):
    """Yields the dotted name of each call, and the call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_code_is_made_of_data(path):
    tree = ast.parse(path.read_text("utf-8"))
    for name, call in calls(tree):
        assert name not in NEVER, f"{name} in line {call.lineno}"
        assert name.rpartition(".")[2] not in NEVER_OF_ARCHIVES, f"{name} in line {call.lineno}"
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert options.get("shell") != "True", f"a shell in line {call.lineno}"
        if name == "np.load":
            assert options.get("allow_pickle") == "False", f"line {call.lineno}"
    imported = {
        alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    imported |= {
        (node.module or "").partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and not node.level
    }
    allowed = ALLOWED.get(path.relative_to(PACKAGE).as_posix(), set())
    assert not imported & NEVER_IMPORTED - allowed


class _Calls:
    def __reduce__(self):
        return Path.touch, (Path("called"),)


def test_arrays_of_objects_are_refused_and_not_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("objects.npz", a=np.array([_Calls()], object))
    with pytest.raises(ValueError, match="allow_pickle"):
        files.read_arrays(Path("objects.npz"))
    Path("pickle.npz").write_bytes(pickle.dumps(_Calls()))
    with pytest.raises(ValueError):
        files.read_arrays(Path("pickle.npz"))
    assert not Path("called").exists()


def test_arrays_that_claim_much_take_no_memory(tmp_path):
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**40},), }}"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", data)
    tracemalloc.start()
    with pytest.raises(ValueError):
        files.read_arrays(tmp_path / "a.npz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**24


@pytest.mark.parametrize(
    "data",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(touched) (w) file closefile\n",
        b"%PDF-1.4\n1 0 obj\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>",
        b"\xd7\xcd\xc6\x9a\x00\x00" + bytes(40),
    ],
    ids=["EPS", "PDF", "SVG", "WMF"],
)
def test_formats_that_hold_programs_are_no_images(data):
    with pytest.raises(BadImageError):
        decode_rgb(data)


def test_a_picture_is_told_by_its_content_and_not_by_its_name(tmp_path):
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (3, 2), (255, 0, 0)).save(file, "PNG")
    (tmp_path / "a.jpg").write_bytes(file.getvalue())
    assert decode_rgb((tmp_path / "a.jpg").read_bytes()).size == (3, 2)
