"""`python -m cli.reference` writes docs/cli.md: every verb and option, as the app has them."""

from pathlib import Path

from cli.exits import Exit
from cli.main import app
from cli.settings import Settings

PATH = Path(__file__).parent.parent / "docs" / "cli.md"


def text() -> str:
    """The reference, as Markdown."""
    exits = "\n".join(f"| {code.value} | {code.name.lower().replace('_', ' ')} |" for code in Exit)
    verbs = app.meta.generate_docs(output_format="markdown", heading_level=1)
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
            (Settings.__doc__ or "").strip(),
            "```",
            "",
        ]
    )


if __name__ == "__main__":
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(text())
