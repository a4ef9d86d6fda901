"""`mllm config`: the contexts of the configuration file."""

from typing import Annotated, Any

import msgspec
from cyclopts import App, Parameter
from msgspec.structs import replace

from cli.addressing import address, bearer, tenant
from cli.config import Config, Context, config_path, write
from cli.failures import Failure, Misused
from cli.session import Here
from cli.settings import LOCATED_SECRETS, SECRETS

app = App(name="config", help="See and change the contexts.")

HIDDEN = "REDACTED"


@app.command
def set_context(name: str, /, *, session: Here) -> None:
    """Make or change a context: what --server, --token and --namespace say, the rest stays.

    A token is better kept off the command line: `mllm login` asks for it.

    Parameters
    ----------
    name
        The context's name.
    """
    options, config = session.options, session.config
    before = config.contexts.get(name)
    server = options.server or (before.server if before else "")
    if not server:
        raise Misused(f"context {name!r} is new and needs a server", "give it with --server")
    old = before or Context(server)
    context = Context(
        address(server),
        bearer(options.token or old.token),
        tenant(options.namespace or old.namespace),
    )
    current = config.current_context or name
    write(
        config_path(session.environ),
        replace(config, contexts=config.contexts | {name: context}, current_context=current),
    )
    session.hint(f"context {name} is set")


@app.command
def use_context(name: str, /, *, session: Here) -> None:
    """Make a context the current one.

    Parameters
    ----------
    name
        The context's name.
    """
    config = session.config
    if name not in config.contexts:
        known = ", ".join(config.contexts) or "none"
        raise Misused(f"there is no context {name!r}", f"there is: {known}")
    write(config_path(session.environ), replace(config, current_context=name))
    session.hint(f"context {name} is the current one")


@app.command
def current_context(*, session: Here) -> None:
    """Print the current context's name."""
    name = session.config.current_context
    if not name:
        raise Failure("there is no current context", "make one with `mllm login`")
    session.printer.value({"name": name}, name)


@app.command
def view(
    *,
    show_secrets: Annotated[bool, Parameter(name=["--show-secrets", "--raw"])] = False,
    session: Here,
) -> None:
    """Print the configuration file.

    Parameters
    ----------
    show_secrets
        With the tokens.
    """
    config = session.config if show_secrets else redacted(session.config)
    plain: dict[str, Any] = msgspec.to_builtins(config)
    import yaml  # here, because it is slow to import

    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    session.printer.value(config, text.rstrip("\n"))


def redacted(config: Config) -> Config:
    """The same without anything that lets one in."""
    contexts = {
        name: replace(context, token=HIDDEN if context.token else "")
        for name, context in config.contexts.items()
    }
    settings = {
        name: HIDDEN if name in SECRETS | LOCATED_SECRETS and value else value
        for name, value in config.settings.items()
    }
    return replace(config, contexts=contexts, settings=settings)
