from cli.reference import PATH, text


def test_the_reference_is_what_the_command_line_says() -> None:
    assert PATH.read_text() == text(), "run `python -m cli.reference`"


def test_the_reference_knows_every_noun_and_its_verbs() -> None:
    found = text()

    for words in ("weights install", "jobs watch", "tokens issue", "serve gateway", "MLLM_", "130"):
        assert words in found
