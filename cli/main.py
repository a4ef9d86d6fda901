"""The `mllm` command line."""


def main() -> None:
    """Run the verb named on the command line."""
