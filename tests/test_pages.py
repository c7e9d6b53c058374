"""The page that explains the paper, and the table of what is said of it."""

import doctest
import re

from experiments.paper import page as paper


def test_the_tables_of_the_paper_are_generated_from_the_records():
    text = paper.README.read_text("utf-8")
    assert paper.updated(text) == text
    shown = {folder for folders in paper.CLAIMS.values() for folder in folders}
    assert {f"../{folder}/README.md" for folder in shown} <= set(re.findall(r"\((.*?)\)", text))


def test_what_the_paper_s_page_shows_in_python_is_so(capfd):
    text = paper.README.read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    examples = parser.get_doctest("\n".join(blocks), {}, "page", str(paper.README), 0)
    assert len(examples.examples) > 12
    runner.run(examples)
    assert not runner.failures, capfd.readouterr().out
