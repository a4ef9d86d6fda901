"""The `mllm` command line: which verb is where, and what becomes of an error.

Verbs are registered by the name of their module and imported when they are used, so that a verb
costs what it needs and no more.
"""

import errno
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from io import TextIOWrapper
from typing import Annotated, Any

from cyclopts import (
    App,
    CycloptsError,
    Group,
    Parameter,
    UnknownCommandError,
    UnknownOptionError,
)

from cli.session import Options, Session

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}

SYSTEM = Group("Running mllm", sort_key=1)
NOUNS = Group("Working with it", sort_key=2)
CLIENT = Group("This command line", sort_key=3)


def _told(default: object) -> str | None:
    """How a default is told; that a flag is off, and a list empty, goes without saying."""
    return str(default) if default else None


app = App(
    name="mllm",
    help="Install, serve and watch the weights of large language models.",
    default_parameter=Parameter(negative="", show_default=_told),
    version_flags=[],
    exit_on_error=False,
    print_error=False,
    result_action="return_value",
)


def _register(group: Group, verbs: Mapping[str, tuple[str, str]]) -> None:
    for name, (where, help) in verbs.items():
        app.command(where, name=name, group=group, help=help)


_register(
    SYSTEM,
    {
        "up": ("cli.up:up", "Start everything on this machine."),
        "down": ("cli.up:down", "Stop what `mllm up` started."),
        "demo": ("cli.demo:demo", "Install, verify and serve a small model, start to finish."),
        "serve": ("cli.serve:app", "Run one role of the system."),
        "migrate": ("cli.migrate:migrate", "Create or change streams, consumers and tables."),
        "status": ("cli.status:status", "Show what runs, and how it is."),
        "doctor": ("cli.doctor:doctor", "Look for what is wrong, and say what to do about it."),
    },
)
_register(
    NOUNS,
    {
        "weights": ("cli.weights:app", "Install, verify and delete weights."),
        "jobs": ("cli.jobs:app", "See and steer what is being done."),
        "models": ("cli.models:app", "Register models, and see what may serve."),
        "runtime": ("cli.runtime:app", "Have models serve, and see how they do."),
        "rollout": ("cli.rollout:app", "Follow an activation."),
        "recommend": ("cli.recommend:app", "See which cards a model fits on."),
        "tokens": ("cli.tokens:app", "Issue, rotate and revoke access tokens."),
        "secrets": ("cli.secrets:app", "Keep tokens of the Hub where jobs find them."),
        "events": ("cli.events:app", "Read and follow the event log."),
        "projections": ("cli.projections:app", "See and rebuild the read models."),
    },
)
_register(
    CLIENT,
    {
        "login": ("cli.login:login", "Remember a server and a token as a context."),
        "config": ("cli.contexts:app", "See and change the contexts."),
        "completion": ("cli.completion:completion", "Print a completion script for a shell."),
        "version": ("cli.version:version", "Print the version of this command line."),
    },
)


app["--help"].group = CLIENT


@app.meta.default
def launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    options: Options = Options(),  # noqa: B008  # frozen
) -> object:
    """Take the global options out, wherever they stand, and run the verb that remains."""
    verb, bound, injected = app.parse_args(tokens)
    session = Session(options, os.environ)
    session.printer  # noqa: B018  # a form that is none is refused before anything is done
    if options.watch and "watch" not in injected:
        session.nothing_to_watch()
    session.refuse_together(bound.kwargs)
    known: Mapping[str, object] = {"session": session, "watch": options.watch}
    extras = {name: known[name] for name in injected if name in known}
    with closing(session):
        return _finished(verb, bound.args, dict(bound.kwargs) | extras)


def _finished(verb: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> object:
    result = verb(*args, **kwargs)
    if inspect.iscoroutine(result):
        import asyncio  # here, because it is slow to import and few verbs need it

        return asyncio.run(result)
    return result


def run(argv: Sequence[str]) -> int:
    """Run one command line. Returns its exit code; says on stderr what went wrong."""
    try:
        result = app.meta(list(argv), exit_on_error=False, print_error=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except CycloptsError as error:
        return _misused(error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has gone
        _write_no_more()
        return 1
    except Exception as error:  # nobody above could do better than to say it in one line
        return _failed(error)


def _misused(error: CycloptsError) -> int:
    from cli.complaints import complain, misuse

    error.verbose = False
    verb = " ".join(["mllm", *(error.command_chain or ())])
    see = f"see `{verb} --help`"
    if isinstance(error, UnknownCommandError) and error.app and error.unused_tokens:
        word, names = error.unused_tokens[0], [n for n in error.app if not n.startswith("-")]
        return complain(misuse(f"there is no verb {word!r}", word, names))
    if isinstance(error, UnknownOptionError):
        word = error.token.keyword or error.token.value
        own, shared = error.argument_collection, app.meta.assemble_argument_collection()
        open_ = (one for one in (*own, *shared) if one.parameter.parse is not False)
        names = [name for argument in open_ for name in argument.names]
        return complain(misuse(f"there is no option {word}", word, names, see))
    return complain(misuse(str(error), "", [], see))


def _failed(error: Exception) -> int:
    from cli.complaints import complain, unexpected
    from cli.failures import Failure

    if isinstance(error, OSError) and error.errno in FULL:
        _write_no_more()
        error = Failure(f"the output can not be written: {error.strerror}", "see where it goes to")
    return complain(error if isinstance(error, Failure) else unexpected(error))


def _write_no_more() -> None:
    """Python would complain once more, while it shuts down, of what is left to write."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> int:
    """The console script."""
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]  # the shell closed it
        print("error: stdout is closed\nremedy: send it to /dev/null", file=sys.stderr)
        return 1
    for stream in (sys.stdout, sys.stderr):  # a terminal without Unicode shows a ? and no error
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    return run(sys.argv[1:])
