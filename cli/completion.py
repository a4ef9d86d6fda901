"""`mllm completion`: scripts that teach a shell our verbs and options."""

from typing import Literal


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print a completion script: `source <(mllm completion bash)`.

    Parameters
    ----------
    shell
        Which shell it is for.
    """
    from cli.main import app

    print(app.generate_completion(prog_name="mllm", shell=shell))
