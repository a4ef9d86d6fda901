"""One run of the command line: what the global options, the environment and the context say.

Light to import; whatever is heavy is imported by the property that needs it.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from cyclopts import Group, Parameter

if TYPE_CHECKING:
    from cli.client import Gateway
    from cli.config import Config, Context
    from cli.printing import Printer

Showing: TypeAlias = Literal["auto", "plain", "json", "none"]


@Parameter(name="*", group=Group("Global options", sort_key=100))
@dataclass(frozen=True)
class Options:
    """What every verb understands, before it or after it."""

    context: str | None = None
    """Use this context instead of the current one (MLLM_CONTEXT)."""

    server: str | None = None
    """Address of the gateway, instead of a context's (MLLM_SERVER)."""

    token: str | None = None
    """Token to send. Others on this machine can see it: prefer MLLM_TOKEN or a context."""

    namespace: Annotated[str | None, Parameter(name=["--namespace", "-n"])] = None
    """Namespace to act in, instead of the context's (MLLM_NAMESPACE)."""

    output: Annotated[str, Parameter(name=["--output", "-o"])] = "table"
    """How to print: table, wide, json, yaml, name or jsonpath=EXPRESSION."""

    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"])] = False
    """Print names only, and no hints or progress."""

    watch: bool = False
    """Stay, and show what changes."""

    no_color: bool = False
    """No colours (NO_COLOR)."""

    progress: Showing = "auto"
    """How to show progress, on stderr."""


class Session:
    """What a verb needs besides its own arguments."""

    def __init__(self, options: Options, environ: Mapping[str, str]) -> None:
        self.options = options
        self.environ = environ

    @cached_property
    def config(self) -> "Config":
        """The configuration file. Says so once when others may read it."""
        from cli.config import config_path, exposed, read

        path = config_path(self.environ)
        config = read(path)
        if exposed(path):
            self.hint(f"warning: {path} holds tokens and others can read it: chmod 600 {path}")
        return config

    @cached_property
    def context(self) -> "Context":
        """The server, the token and the namespace to use."""
        from cli.addressing import resolve

        return resolve(self.options, self.environ, lambda: self.config)

    @cached_property
    def gateway(self) -> "Gateway":
        from cli.client import Gateway

        return Gateway(self.context.server, self.context.token, self.context.namespace)

    @cached_property
    def printer(self) -> "Printer":
        from cli.printing import Printer

        options = self.options
        return Printer(options.output, quiet=options.quiet, colour=self.colour(sys.stdout))

    def close(self) -> None:
        """Let go of the connection, if one was made."""
        if "gateway" in self.__dict__:
            self.gateway.close()

    @property
    def interactive(self) -> bool:
        """Whether somebody is there to be asked."""
        return sys.stdin.isatty() and sys.stderr.isatty()

    def colour(self, stream: object) -> bool:
        """Whether `stream` is a terminal that shows colours, and nobody objects."""
        if self.options.no_color or self.environ.get("NO_COLOR"):
            return False
        is_terminal = getattr(stream, "isatty", lambda: False)()
        return is_terminal and self.environ.get("TERM") != "dumb"

    def nothing_to_watch(self) -> None:
        """Raises `Misused`: the verb does not know what --watch means."""
        from cli.failures import Misused

        raise Misused("there is nothing to watch here", "leave out --watch")

    def refuse_together(self, given: Mapping[str, Any]) -> None:
        """Raises `Misused` for what a verb is given that means nothing beside the options."""
        from cli.failures import Misused

        if self.options.watch and given.get("as_of") is not None:
            raise Misused("what was does not change", "leave out --watch or --as-of")
        for stay in given.values():  # those with a timeout of their own say whether to wait
            if getattr(stay, "timeout", None) is not None and not (stay.wait or self.options.watch):
                raise Misused("--timeout says how long to wait", "add --wait or --watch")

    def hint(self, text: str) -> None:
        """Say something beside the data, unless asked to be quiet."""
        if not self.options.quiet:
            print(text, file=sys.stderr)


Here: TypeAlias = Annotated[Session, Parameter(parse=False)]
"""A verb's keyword parameter `session` of this type is handed the running session."""

Watching: TypeAlias = Annotated[bool, Parameter(parse=False)]
"""A verb's keyword parameter `watch` of this type says that it knows what --watch means."""
