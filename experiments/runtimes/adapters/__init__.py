"""One module per way to run a file; `with_` keeps their names apart from the packages'.

Each has `load(file, option)`, which returns a function from images to logits. They run in
environments without this project, on old versions of Python, too.
"""
