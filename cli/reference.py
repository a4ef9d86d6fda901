"""`python -m cli.reference` writes docs/cli.md: every verb and option, as the app has them."""

import re
from inspect import cleandoc
from pathlib import Path

from cyclopts import App

from cli.exits import Exit
from cli.main import app
from cli.settings import Settings

PATH = Path(__file__).parent.parent / "docs" / "cli.md"


def text() -> str:
    """The reference, as Markdown."""
    exits = "\n".join(f"| {code.value} | {code.name.lower().replace('_', ' ')} |" for code in Exit)
    _import_all(app)
    verbs = app.generate_docs(output_format="markdown", usage_name="mllm")
    # under `python -m X` cyclopts takes `-m X` for a part of a verb's name
    verbs = re.sub(r"^(mllm.*?) -m [\w.]+", r"\1", verbs, flags=re.MULTILINE)
    return "\n".join(
        [
            verbs.rstrip(),
            "",
            "## Exit codes",
            "",
            "| code | meaning |",
            "| --- | --- |",
            exits,
            "",
            "## Settings",
            "",
            "```",
            cleandoc(Settings.__doc__ or ""),
            "```",
            "",
        ]
    )


def _import_all(parent: App) -> None:
    """Documents know only verbs that are imported, and no parameter's default of a parent's."""
    for child in parent.resolved_commands().values():
        child.default_parameter = parent.default_parameter
        _import_all(child)


if __name__ == "__main__":
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(text())
