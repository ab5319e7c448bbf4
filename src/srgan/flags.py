"""Flags of a settings dataclass: `parse` reads a command line into one, by argparse."""

import argparse
import ast
import dataclasses
import inspect
import itertools
import re
import textwrap
import typing
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

from srgan import config
from srgan.errors import SettingsError, UsageError, did_you_mean
from srgan.fs import is_device, may_replace, printable

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Mark:
    """What a field's annotation says beside its type: `Annotated[Path | None, Mark(alias="-o")]`."""

    positional: bool = False
    alias: str | None = None


Positional = Annotated[T, Mark(positional=True)]
"""A field that is given without its name: `paths: Positional[tuple[Path, ...]]`."""


def parse(kind: type[T], argv: Sequence[str], *, prog: str, start: T | None = None) -> T:
    """Settings of a dataclass from flags; `start` has the defaults, which a dataclass with groups needs.

    A flag is a field's name with `-` or `_`. The help begins with the dataclass's docstring; a field's docstring is its
    help, a group's docstring heads the group.
    Leaves with SystemExit after --help. Raises SettingsError or UsageError, also for an empty word, which as a path would
    be the current folder.
    """
    # Words.
    for before, word in zip(("", *argv), argv, strict=False):
        if not word or (word.startswith("--") and word.find("=") == len(word) - 1):
            what = word[:-1] or (before if before.startswith("-") else "a name")
            raise SettingsError(f"{what} is empty; is a shell variable not set?")
    # Values.
    parser = _parser(kind, start, prog)
    end = argv.index("--") if "--" in argv else len(argv)
    paths = [f"./{word}" if word.startswith("-") and word != "-" else word for word in argv[end + 1 :]]
    # A flag's name may have `_` for `-`.
    words = [re.sub(r"^--[^=]*", lambda flag: flag[0].replace("_", "-"), word) for word in argv[:end]]
    first = next((i for i, word in enumerate(words) if word.startswith("--")), len(words))  # it may take a list
    # `-overwrite` is no `-o verwrite`.
    slips = [word for word in words if word[0] == "-" and word[1:2].isalpha() and word[2:3] not in ("", "=")]
    given, rest = (
        (None, slips) if slips else parser.parse_known_intermixed_args([*words[:first], *paths, *words[first:]])
    )
    if rest:
        what = "there is no option" if rest[0].startswith("-") else "one word too many:"
        name = rest[0].partition("=")[0]
        negative = name.startswith("--no-")
        flags = [
            flag for action in parser._actions for flag in action.option_strings if flag.startswith("--no-") == negative
        ]
        raise UsageError(f"{what} {printable(rest[0])}.{did_you_mean(name, flags)} `{prog} --help` lists the options.")
    try:
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in vars(given).items()}
        return kind(**values) if start is None else config.replace(start, **values)
    except (ValueError, TypeError) as error:  # a field's own check
        raise SettingsError(str(error)) from error


class Parser(argparse.ArgumentParser):
    """argparse's, with a UsageError of one sentence for each mistake."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        if message.endswith("expected one argument"):
            message += " (one that begins with - is written --option=value)"
        raise UsageError(f"{message[0].upper()}{message[1:]}. `{self.prog} --help` lists the options.")


def _parser(kind: type, start: Any, prog: str) -> argparse.ArgumentParser:
    """argparse's parser with a flag for each field; its result holds only what is given."""
    about = f"{inspect.getdoc(kind)} --quiet: results and errors only. --verbose: more detail."
    parser = Parser(prog=prog, description=about, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    defaults = {} if start is None else config.to_mapping(start)
    groups: dict[Any, Any] = {kind: parser}
    usage = [prog, "[OPTIONS]"]
    for owner, field, hint, marks in config.flat_fields(kind):
        # Its place and help.
        if owner not in groups:
            groups[owner] = parser.add_argument_group(str(owner.__doc__).rstrip("."))
        mark = next((mark for mark in marks if isinstance(mark, Mark)), Mark())
        flag, name = f"--{field.name.replace('_', '-')}", field.name.upper()
        default = defaults.get(field.name, field.default)
        options: dict[str, Any] = {"help": _help(_docstrings(owner).get(field.name, ""), default)}
        if hint is bool:
            groups[owner].add_argument(flag, action=argparse.BooleanOptionalAction, **options)
            continue
        # Its value or values.
        many, required = typing.get_origin(hint) is tuple, default is dataclasses.MISSING
        item = typing.get_args(hint)[0] if many else hint
        options["type"] = partial(config.convert, hint=item, where=name if mark.positional else flag, word=True)
        if many:
            options |= {"nargs": "*", "action": "store" if mark.positional else "extend"}
        elif mark.positional and not required:
            options["nargs"] = "?"
        # Its name.
        if mark.positional:
            parser.add_argument(field.name, metavar=name, **options)
            usage.append(f"{name}..." if many else name if required else f"[{name}]")
        else:
            names = [mark.alias, flag] if mark.alias else [flag]
            metavar = "|".join(short for short, _ in config.kinds(item))
            groups[owner].add_argument(*names, dest=field.name, metavar=metavar, required=required, **options)
    parser.usage = " ".join(usage)
    return parser


def _help(text: str, default: Any) -> str:
    """A flag's help: its field's docstring and, where there is something to show, the default."""
    if default is not False and default is not dataclasses.MISSING and default not in (None, "", (), []):
        shown = "yes" if default is True else " ".join(default) if isinstance(default, (list, tuple)) else default
        text += f" (default: {shown})"
    return text.replace("%", "%%")


@cache
def _docstrings(kind: type) -> dict[str, str]:
    """The texts below a dataclass's fields, its bases' included."""
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(definition, ast.ClassDef)
        for field, text in itertools.pairwise(definition.body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                texts[ast.unparse(field.target)] = str(ast.literal_eval(text.value))
    return texts


def check_json(path: Path | None) -> None:
    """Refuse, before the work, a --json that could not be written after it or would replace another file. Raises UsageError."""
    import tempfile

    if path is None:
        return
    try:
        if not is_device(path):
            tempfile.TemporaryFile(dir=path.absolute().parent).close()
        blocked = path.is_dir()
    except OSError:
        blocked = True
    if blocked:
        raise UsageError(f"--json {printable(path)} cannot be written: give a file in a folder that you may write to.")
    if not may_replace(path, b"{"):
        raise UsageError(f"--json {printable(path)} is there and holds no JSON; give another name.")
