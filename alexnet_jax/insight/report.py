"""A run's report: one HTML file without scripts; templates escape other people's text."""

import functools
from pathlib import Path

from alexnet_jax.errors import InputError
from alexnet_jax.files import write_text
from alexnet_jax.insight import curves
from alexnet_jax.insight.report_data import ReportData
from alexnet_jax.insight.report_head import head
from alexnet_jax.insight.report_sections import SECTIONS


def write_report(path: str | Path, data: ReportData) -> Path:
    """Writes the report; its folder is the run folder unless `data.run["workdir"]` is set."""
    path = Path(path)
    data = data.completed(path)
    found = {make.__name__: make(data) for make in SECTIONS}
    sections = {name: values for name, values in found.items() if values is not None}
    text = _page().render(
        config=data.config, classes=len(data.class_names), head=head(data), sections=sections
    )
    try:
        write_text(path, text)
    except OSError as error:
        raise InputError(f"cannot write the report {path}: {error.strerror or error}") from None
    return path


@functools.cache
def _page():
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("alexnet_jax.insight", "report_templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = curves.percent
    environment.filters["short"] = curves.number
    environment.filters["count"] = lambda value: f"{value:,}"
    return environment.get_template("page.html.jinja")
