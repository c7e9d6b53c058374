"""Class names in the forms that people have, put in the order of the outputs."""

import json

import pytest

from alexnet_jax.errors import InputError
from alexnet_jax.weights.readers.labels import read_labels

TENCH, SHARK, KITE = "n01440764", "n01484850", "n01608432"
ABC = ("a", "b", "c")


@pytest.fixture
def names(tmp_path):
    """Returns the names of a text, or of bytes."""

    def read(text, class_order="names"):
        file = tmp_path / "labels"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_labels(file, class_order)

    return read


FORMS = {
    "lines": "a\nb\nc\n\n",
    "Windows": "a\r\nb\r\nc\r\n",
    "a byte order mark": "\ufeffa\nb\nc\n",
    "UTF-16": "\ufeffa\r\nb\r\nc\r\n".encode("utf-16-le"),
    "UTF-16, the other way": "\ufeff1 b\n0 a\n2 c\n".encode("utf-16-be"),
    "UTF-32": "a\nb\nc\n".encode("utf-32"),
    "numbered": "0 a\n1 b\n2 c\n",
    "numbered, sorted otherwise": "2: c\n0: a\n1: b\n",
    "numbered from 1": "1. a\n2. b\n3. c\n",
    "arrows": "0 -> a\n2 -> c\n1 -> b\n",
    "arrows to numbers": "c => 2\na => 0\nb => 1\n",
    "numbers behind": "c 2\na 0\nb 1\n",
    "a table": "index,name\n1,b\n0,a\n2,c\n",
    "a table, semicolons": "id;label\r\n2;c\r\n0;a\r\n1;b\r\n",
    "a table, tabs, no head": "c\t3\na\t1\nb\t2\n",
    "a table with more columns": 'ClassId,SignName,Kind\n2,c,"x, y"\n0,a,x\n1,b,z\n',
    "a table of pandas": ",name\n0,a\n1,b\n2,c\n",
    "a column with its head": "label\na\nb\nc\n",
    "JSON": '["a", "b", "c"]',
    "JSON, marked": '\ufeff["a", "b", "c"]',
    "names to numbers": '{"c": 2, "a": 0, "b": 1}',
    "numbers to names": '{"2": "c", "1": "b", "0": "a"}',
    "Hugging Face": '{"id2label": {"1": "b", "0": "a"}, "label2id": {"a": 0, "b": 1}}',
    "label2id alone": '{"label2id": {"b": 1, "a": 0, "c": 2}, "architectures": ["X"]}',
    "categories": '{"categories": [{"id": 2, "name": "b"}, {"id": 1, "name": "a"}]}',
    "Python's dictionary": "{0: 'a',\n 2: \"c\",\n 1: 'b'}",
    "Python's list": "['a', 'b', \"c\",]",
    "Python's program": "CLASSES = ('a', 'b',  # first\n 'c')\n",
    "fastai's list": "(#3) ['a','b','c']",
    "YAML": "names:\n  0: a\n  2: c\n  1: b\n",
    "YAML's list": "names:\n- a\n- b\n- c\n",
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_each_form_gives_the_names_in_order(form, names):
    found = names(FORMS[form])
    assert found.names == ABC[: len(found.names)] and len(found.names) > 1
    assert "output 0 is 'a', output " in found.messages[0]


def test_hundreds_of_numbers_sorted_as_text_are_sorted_as_numbers(names):
    numbered = {str(i): f"kind {i}" for i in range(300)}
    expected = tuple(numbered.values())
    assert names(json.dumps(numbered, sort_keys=True)).names == expected
    backwards = json.dumps({name: int(i) for i, name in sorted(numbered.items())})
    assert names(backwards).names == expected
    lines = sorted(f"{i} kind-{i}x" for i in range(300))
    assert names("\n".join(lines)).names[123] == "kind-123x"


@pytest.mark.parametrize(
    "lines",
    [
        ("7 up", "3 musketeers", "100 grand"),
        ("1 euro", "2 euro"),
        ("1,5 l", "0,5 l", "2,0 l"),
        ("1-room flat", "2-room house"),
        tuple("0123456789"),
        ("kind 1", "kind 2", "kind 3"),
        ("1st class", "2nd class"),
        ("(none)", "cat"),
        ("0 cat", "1 dog", "3 bird"),
        ("tench, Tinca tinca", "goldfish, Carassius auratus"),
        ("boeing 737", "airbus 380"),
    ],
)
def test_names_with_numbers_in_them_stay_names(lines, names):
    found = names("\n".join(lines))
    assert found.names == lines
    assert "in the order of the file, which says no other" in found.messages[0]


MAP = f"{SHARK} 1 great_white\n{KITE} 2 kite\n{TENCH} 3 tench\n"
WORDS = f"{SHARK} great_white, white shark\n{KITE} kite\n{TENCH} tench, Tinca tinca\n"
KERAS = json.dumps({"1": [SHARK, "great_white"], "0": [TENCH, "tench"], "2": [KITE, "kite"]})
SORTED = ("tench", "great_white", "kite")


@pytest.mark.parametrize(
    "text",
    [MAP, WORDS, KERAS, WORDS.replace(" ", "\t", 1), f"wnid,words\n{WORDS}".replace(" g", ",g"),
     json.dumps({SHARK: "great_white", KITE: "kite", TENCH: "tench, Tinca tinca"}),
     json.dumps([[SHARK, "great_white"], [KITE, "kite"], [TENCH, "tench"]]),
     MAP.replace(" 2 ", " 700 "), f"kite {KITE}\ngreat_white {SHARK}\ntench {TENCH}",
     f"0 {SHARK} great_white\n1 {KITE} kite\n2 {TENCH} tench\n"],
)  # fmt: skip
def test_wordnet_ids_decide_for_outputs_in_their_order(text, names):
    found = names(text, "wordnet")
    assert found.names == SORTED and "in the order of their WordNet ids" in found.messages[0]


def test_keys_that_are_no_wordnet_ids_are_not_called_so(names):
    found = names('{"b": "B", "a": "A"}')
    assert found.names == ("A", "B")
    assert "order of the keys in it, sorted as text" in found.messages[0]


def test_ids_alone_are_names(names):
    assert names(f"{KITE}\n{TENCH}\n{SHARK}\n", "wordnet").names == (TENCH, SHARK, KITE)
    folders = json.dumps({TENCH: 0, SHARK: 1, KITE: 2})
    assert names(folders, "wordnet").names == (TENCH, SHARK, KITE)


def test_networks_of_2012_follow_the_numbers_of_the_challenge(names):
    found = names(MAP, "ilsvrc")
    assert found.names == ("great_white", "kite", "tench") and "ILSVRC2012" in found.messages[0]
    assert "in the order of the file" in names(WORDS, "ilsvrc").messages[0]
    for text in (KERAS, "\n".join(sorted(WORDS.splitlines()))):
        with pytest.raises(InputError, match="ids in sorted order, but .* name map_clsloc.txt"):
            names(text, "ilsvrc")


def test_for_names_of_their_own_a_number_of_an_output_goes_before_an_id(names):
    own = json.dumps({"0": [SHARK, "great_white"], "1": [TENCH, "tench"]})
    assert names(own).names == ("great_white", "tench")
    assert names(MAP).names == SORTED, "these are numbers of the challenge, not of outputs"


def test_equal_names_get_their_ids_or_numbers(names):
    cranes = names("n02012849 crane\nn03126707 crane\n").names
    assert cranes == ("crane (n02012849)", "crane (n03126707)")
    assert names('["x", "x", "y"]').names == ("x (0)", "x (1)", "y")
    assert names('{"1": ["n2", "b"], "0": ["n1", "a"]}').names == ("a", "b")


REFUSED = {
    "nothing": ("", "is empty"),
    "a gap": ("a\n\nb\n", "empty class names"),
    "cut JSON": ("[1", "no JSON .* and no Python"),
    "a missing number": ('{"0": "a", "2": "b"}', "not 0 to n - 1"),
    "a number twice": ('{"0": "a", "0": "b", "1": "c"}', "a key occurs twice"),
    "a number twice, Python": ("{0: 'a', 0: 'b', 1: 'c'}", "a key occurs twice"),
    "an empty name": ('["a", ""]', "empty class names"),
    "depth": ("[" * 100_000, "cannot be read as a list"),
    "depth, Python": ("('a'," * 40 + ")" * 40, "a"),
    "code": ("[__import__('os').system('true')]", "more than names and numbers"),
    "arithmetic": ("[1+1, 'a']", "more than names and numbers"),
    "UTF-16 without a mark": ("a\nb\n".encode("utf-16-le"), "control characters"),
    "Latin-1": ("b\xe4r\nhund\n".encode("latin-1"), "not UTF-8 text .*save it as UTF-8"),
    "photos and their classes": ("id,label\na0,cat\na1,dog\n", "neither integers nor ids"),
    "a table with a gap": ("index,name\n0,cat\n2,dog\n", "neither integers nor ids"),
    "a line without an id": (f"{SHARK} a\n{KITE} b\nbackground\n", "line 3 has no WordNet id"),
    "a data set's YAML": ("path: x\nnc: 2\nnames: ['a', 'b']\n", "YAML text with more"),
    "a comment": ("# my classes\na\nb\n", "is a comment or a title"),
    "a table of counts": ("label,count\na,50\nb,70\n", "neither integers nor ids"),
    "NumPy's text": ("['a' 'b'\n 'c']", "no Python .two names without a comma"),
    "a forgotten comma": ("['a', 'b'  # first\n 'c']", "no Python .two names without a comma"),
    "a message in a line": ("item { id: 1 name: 'a' }\nitem { id: 2 name: 'b' }", "or a message"),
    "an id twice": (f"{SHARK} a\n{SHARK} b\n", "id occurs twice"),
    "contradiction": ('{"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 1, "b": 0}}',
                      "contradict each other"),
    "numbers to numbers": ('{"0": 1, "1": 0}', "which are the names"),
    "a cut list of fastai": ("(#37) ['a', 'b'...]", "no Python"),
    "a message": ("item {\n  id: 1\n  name: 'cat'\n}\n", "program or a message"),
    "a web page": ("<!DOCTYPE html><html>404</html>", "is a web page"),
    "a pointer": ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0", "is an image"),
    "an endless name": ("a" * 5000, "a name of 5,000 characters"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_list_of_names_is_refused_in_one_line(what, names):
    text, message = REFUSED[what]
    if what == "depth, Python":
        assert names(text).names == (text,)  # a strange name, but nothing is run and nothing hangs
        return
    with pytest.raises(InputError, match=message) as caught:
        names(text)
    assert "\n" not in str(caught.value)


def test_what_is_told_is_short(names):
    assert len(names(json.dumps({"0": "a" * 100_000, "1": "b"})).messages[0]) < 300


def test_a_folder_that_is_no_prepared_set_is_refused(tmp_path):
    with pytest.raises(InputError, match="no prepared data set"):
        read_labels(tmp_path)


def test_long_hostile_texts_take_no_time(names):
    """Each is a megabyte or more that a careless pattern goes through for hours (see `timeout`)."""
    texts = ["a" + " " * 3_000_000 + "b", "'" + "\\'" * 400_000, "{" + "0:" * 400_000,
             "(" * 900_000, "n01440764" + " ;" * 1_000_000, "0," * 1_000_000]  # fmt: skip
    for text in texts:
        with pytest.raises(InputError):
            names(text)
