"""The templates of reports, pages and cards: what is absent in them is an error, and HTML escapes what it is given."""

from jinja2 import Environment, PackageLoader, StrictUndefined


def environment(*, is_html: bool = True) -> Environment:
    """Give an environment of the templates in this package; `is_html` escapes what is put in."""
    return Environment(
        loader=PackageLoader("lesionlab.report"),
        autoescape=is_html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
