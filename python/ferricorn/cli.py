"""The command `ferricorn`, built from the options that config_*.py declare.

No option's default, bound or help text is written here.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from ferricorn import discovery, environment, settings
from ferricorn._ferricorn import __version__
from ferricorn.config import OPTIONS, Config, grouped
from ferricorn.errors import StartupError
from ferricorn.ignored import IGNORED, SWITCHES
from ferricorn.options import ENVIRONMENT_PREFIX, Choice, Flag, Ignored, Option, Repeated, Switch
from ferricorn.process_server import EXIT_INTERRUPTED, CommandServer
from ferricorn.settings import Setting
from ferricorn.supervisor import Supervisor

_COLUMN: Final = 30
"""The width of the left column of the help, in all groups."""
_FEW: Final = 20
"""So many characters of choices stand beside their option; more of them stand in its text."""
_FLAGS: Final = {option.name: f"--{option.flag}" for option in OPTIONS}
_NO_BREAK: Final = "\u00a0"
_NO_BREAK_HYPHEN: Final = "\u2011"
_EPILOG: Final = (
    f"Every option is also read from the environment, "
    f"{'--log-level'.replace('-', _NO_BREAK_HYPHEN)} from ${ENVIRONMENT_PREFIX}LOG_LEVEL, "
    f"and from a file, as log{_NO_BREAK_HYPHEN}level. Exit status: 0 after a shutdown, 2 for wrong usage, 3 when the "
    "server could not start."
)
_UNOFFERED: Final = frozenset(
    flag for o in OPTIONS for flag in (*o.aliases, f"--no-{o.flag}") if flag not in o.flags.split("/")
)
"""Flags that are taken and not offered: other servers' spellings, and those that switch off what is off."""
_LOADED: Final = f"{__name__}.loaded"
_ARGUMENTS: Final = f"{__name__}.arguments"
"""What is kept in click's context: the variables that the env file has set, and the command line."""
_FLAGS_WITH_VALUES: Final = {
    f"--{o.flag}": (f"--{o.flag}", f"--no-{o.flag}") for o in OPTIONS if isinstance(o.kind, Flag)
}
"""Both ways of each."""
_MEANINGS: Final = {switch.flag: switch.meaning for switch in SWITCHES}
_COMMAND_LINE: Final = "command line"
_DISCOVERED: Final = "found"


class ServerOption(click.Option):
    """An option of the server on the command line. Left out, it is None: `Config` knows the defaults."""

    def __init__(self, option: Option) -> None:
        self.option = option
        is_flag = isinstance(option.kind, Flag)
        # Whatever can be switched on can be switched off again, further to the right.
        flags = f"{option.flags}/--no-{option.flag}" if is_flag and "/" not in option.flags else option.flags
        super().__init__(
            [flags, *option.aliases, option.name],
            type=click.BOOL if is_flag else click.STRING,
            callback=None if is_flag else self._parse,
            multiple=isinstance(option.kind, Repeated),
            is_flag=is_flag,
            default=None,
            envvar=option.environment,
            help=option.help,
            metavar=_metavar(option),
        )

    def _parse(self, _ctx: click.Context, _parameter: click.Parameter, text: Any) -> object:
        kind = self.option.kind
        try:
            if isinstance(kind, Repeated):
                return tuple(kind.item.parse(part) for part in text or ())
            return None if text is None else kind.parse(text)
        except ValueError as error:
            raise click.BadParameter(f"{error}.") from None

    def get_error_hint(self, _ctx: click.Context | None) -> str:
        return f"'--{self.option.flag}'"

    def get_help_record(self, _ctx: click.Context) -> tuple[str, str] | None:
        return _spelling(self), f"{self.option.help}{_facts(self.option)}"

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        if isinstance(self.option.kind, Choice):
            return [CompletionItem(word) for word in self.option.kind.choices if word.startswith(incomplete)]
        if self.option.kind.metavar in {"PATH", "FILE"}:
            return [CompletionItem(incomplete, type="file")]
        return super().shell_complete(ctx, incomplete)

    def value_from_envvar(self, ctx: click.Context) -> Any:
        """What click would have found on the command line. What cannot be read is told by the variable's name."""
        name = environment.variable(self.option)
        if not name:
            return None
        try:
            value = environment.check(self.option, name)
        except ValueError as error:
            raise click.BadParameter(f"{error}.", ctx, self, f"${name}") from None
        if isinstance(self.option.kind, Repeated):
            return environment.parts(self.option, name)
        return value if isinstance(self.option.kind, Flag) else os.environ[name]


class EnvFileOption(ServerOption):
    """`--env-file`, read before the other options: it may hold their variables."""

    def __init__(self, option: Option) -> None:
        super().__init__(option)
        self.is_eager = True

    def _parse(self, ctx: click.Context, parameter: click.Parameter, text: Any) -> object:
        path = super()._parse(ctx, parameter, text)
        if isinstance(path, str) and not ctx.resilient_parsing:
            try:
                ctx.meta[_LOADED] = environment.load(path)
            except StartupError as error:
                raise click.UsageError(str(error)) from None
        return path


def _metavar(option: Option) -> str | None:
    """What stands for the value in the help text; the choices themselves, where there are few."""
    if isinstance(option.kind, Flag):
        return None
    words = _words(option)
    return f"[{words}]" if 0 < len(words) <= _FEW else option.kind.metavar


def _words(option: Option) -> str:
    return "|".join(option.kind.words) if isinstance(option.kind, Choice) else ""


def _spelling(parameter: ServerOption) -> str:
    """The left column of the help."""
    flag, _, other = parameter.option.flags.partition("/")
    if other:
        return f"--[no-]{flag.removeprefix('--')}"
    return f"{flag} {parameter.metavar}" if parameter.metavar else flag


def _facts(option: Option) -> str:
    """What the help adds to an option's own text."""
    words = _words(option)
    facts = [words.replace("|", ", ")] if len(words) > _FEW else []
    if option.shown_default and option.default is not False:
        facts.append(f"default: {option.shown_default}")
    return f"  [{'; '.join(facts)}]" if facts else ""


class IgnoredOption(click.Option):
    """A flag of another server's command line that changes nothing."""

    def __init__(self, ignored: Ignored) -> None:
        self.ignored = ignored
        takes_value = bool(ignored.values)
        super().__init__(
            [*ignored.flags],
            type=click.STRING if takes_value else click.BOOL,
            is_flag=not takes_value,
            hidden=True,
            expose_value=False,
            callback=self._check if takes_value else None,
        )

    def _check(self, _ctx: click.Context, _parameter: click.Parameter, text: str | None) -> None:
        try:
            if text is not None:
                self.ignored.check(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None


class SwitchOption(click.Option):
    """A flag of another server's that is read as an option of ours, before click comes to it."""

    def __init__(self, switch: Switch) -> None:
        super().__init__([switch.flag], is_flag=True, hidden=True, expose_value=False)


class GroupedCommand(click.Command):
    """A command whose help lists the options under the headings that they were declared with.

    `--flag true` and `--flag=false` are read too, as other servers have it.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, _without_flag_values([_MEANINGS.get(argument, argument) for argument in args]))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {heading: [] for heading, _ in grouped()}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                heading = parameter.option.group if isinstance(parameter, ServerOption) else "Other"
                groups.setdefault(heading, []).append((record[0].ljust(_COLUMN), _held_together(record[1])))
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records, col_max=_COLUMN)

    def get_help(self, ctx: click.Context) -> str:
        return super().get_help(ctx).replace(_NO_BREAK, " ").replace(_NO_BREAK_HYPHEN, "-")

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        return [item for item in super().shell_complete(ctx, incomplete) if item.value not in _UNOFFERED]


def _held_together(text: str) -> str:
    """`text` for the help: options by their flags, and no line ends within a flag or a default with its unit."""
    text = re.sub(r"\w+_\w+", lambda word: _FLAGS.get(word[0], word[0]), text)
    text = re.sub(r"--[a-z-]+", lambda flag: flag[0].replace("-", _NO_BREAK_HYPHEN), text)
    return re.sub(r"default: [^];]*", lambda fact: fact[0].replace(" ", _NO_BREAK), text)


def _without_flag_values(args: Sequence[str]) -> list[str]:
    """`args` with `--no-flag` for `--flag false` and `--flag=false`, `--flag` for those that say true.

    A word after a flag that says neither is left alone: the application is named with a colon.
    """
    read: list[str] = []
    for argument in args:
        name, _, value = argument.partition("=")
        before = read[-1] if read else ""
        if name in _FLAGS_WITH_VALUES and (spelled := _spelled(name, value)):
            read.append(spelled)
        elif before in _FLAGS_WITH_VALUES and (spelled := _spelled(before, argument)):
            read[-1] = spelled
        else:
            read.append(argument)
    return read


def _spelled(flag: str, value: str) -> str | None:
    """The flag that says what `flag` with `value` says, None where `value` is neither true nor false."""
    yes, no = _FLAGS_WITH_VALUES[flag]
    try:
        return yes if Flag().parse(value) else no
    except ValueError:
        return None


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        python = f"{platform.python_implementation()} {platform.python_version()}"
        click.echo(f"ferricorn {__version__} ({python}, {platform.system()})")
        ctx.exit()


def _serve(config: str | None, check_config: bool, print_config: bool, **_values: object) -> None:
    """Serve the ASGI application APP, given as MODULE:ATTRIBUTE, for example main:app.

    Without APP it is looked for in main.py, app.py, api.py, asgi.py and the like.
    """
    given = _collect(config)
    chosen = _configured(given)
    if check_config:
        _check(chosen)
    if print_config:
        click.echo(settings.render(given), nl=False)
    if not (check_config or print_config):
        _run(chosen, discovered=given["app"].origin == _DISCOVERED)


def _collect(path: str | None) -> dict[str, Setting]:
    """Every value that was given, and where. Raises click.UsageError."""
    try:
        given = settings.load(path) | _given()
        if "app" not in given:
            given["app"] = Setting(_discovered(given), _DISCOVERED)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return given


def _configured(given: Mapping[str, Setting]) -> Config:
    try:
        return Config(**{name: setting.value for name, setting in given.items()})
    except (TypeError, ValueError) as error:
        raise click.UsageError(f"{error}.") from None


def _discovered(given: Mapping[str, Setting]) -> str:
    folder, factory = (given[name].value if name in given else None for name in ("app_dir", "factory"))
    return discovery.find(folder or "", factory=bool(factory))


def _check(config: Config) -> None:
    """Reads the files that options name. The application is not imported: that may have effects."""
    from ferricorn import logconfig, tls  # as in logging.py

    try:
        if config.env_file is not None:
            environment.load(config.env_file)
        if config.log_config:
            logconfig.load(config.log_config)
        if (certificates := tls.read(config)) is not None:
            click.echo(f"TLS certificates for {certificates}.", err=True)
    except StartupError as error:
        raise click.UsageError(str(error)) from None
    for sentence in environment.unknown():
        click.echo(f"Warning: {sentence}", err=True)
    click.echo("The configuration is valid.", err=True)


def _reread() -> Config:
    """The configuration that the same command line leads to now, the files being read anew. Raises StartupError."""
    meta = click.get_current_context().meta
    loaded = {name: os.environ.pop(name) for name in meta.get(_LOADED, ()) if name in os.environ}
    try:
        with main.make_context("ferricorn", list(meta[_ARGUMENTS])) as ctx:
            chosen = _configured(_collect(ctx.params["config"]))
    except click.ClickException as error:
        os.environ.update(loaded)
        raise StartupError(error.format_message()) from None
    meta[_LOADED] = ctx.meta.get(_LOADED, ())
    return chosen


def _run(config: Config, *, discovered: bool) -> None:
    if config.is_supervised:
        supervisor = Supervisor(config, _reread)
        supervisor.discovered = discovered
        supervisor.run()
        sys.exit(supervisor.status)
    server = CommandServer(config)
    server.discovered = discovered
    try:
        server.run()
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    sys.exit(server.status)


def _given() -> dict[str, Setting]:
    """What was given on the command line or in the environment, with its origin."""
    ctx = click.get_current_context()
    variables = {"app": environment.APP, **{option.name: environment.variable(option) for option in OPTIONS}}
    given = {}
    for name, variable in variables.items():
        source = ctx.get_parameter_source(name)
        if source is ParameterSource.COMMANDLINE:
            given[name] = Setting(ctx.params[name], _COMMAND_LINE)
        elif source is ParameterSource.ENVIRONMENT:
            given[name] = Setting(ctx.params[name], f"${variable}")
    return given


def _server_option(option: Option) -> ServerOption:
    return EnvFileOption(option) if option.name == "env_file" else ServerOption(option)


main: Final = GroupedCommand(
    "ferricorn",
    callback=_serve,
    help=_serve.__doc__,
    epilog=_EPILOG,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    params=[
        click.Argument(["app"], envvar=environment.APP, required=False),
        *map(_server_option, OPTIONS),
        *map(IgnoredOption, IGNORED),
        *map(SwitchOption, SWITCHES),
        click.Option(
            ["--config"],
            type=click.Path(),
            metavar="FILE",
            envvar=environment.CONFIG,
            help="Read options from a TOML file, in place of ./ferricorn.toml or of [tool.ferricorn] in "
            "./pyproject.toml.",
        ),
        click.Option(
            ["--check-config"], is_flag=True, help="Check the options and the files that they name, and exit."
        ),
        click.Option(["--print-config"], is_flag=True, help="Show every option with its value's origin, and exit."),
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_print_version,
            help="Show the version.",
        ),
    ],
)
