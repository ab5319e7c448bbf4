"""Flags of a settings dataclass: `parse` reads a command line into one.

tyro makes --help and the messages about mistakes, from the fields' types and docstrings. It takes longer to import
than a small image to upscale, so a command line of plain flags and values is read here, to the same settings.
"""

import contextlib
import dataclasses
import os
import shutil
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, overload

from srgan import config
from srgan.errors import SettingsError, UsageError, did_you_mean
from srgan.fs import is_device, may_replace, printable

T = TypeVar("T")
_LEAST_COLUMNS = 40
"""In less, tyro lays its help out for minutes."""


@dataclasses.dataclass(frozen=True)
class Mark:
    """What a field's annotation says beside its type: `Annotated[Path | None, Mark(alias="-o")]`."""

    positional: bool = False
    alias: str | None = None
    metavar: str | None = None


Positional = Annotated[T, Mark(positional=True)]
"""A field that is given without its name: `paths: Positional[tuple[Path, ...]]`."""


@overload
def parse(settings: type[T], argv: Sequence[str], *, prog: str, description: str) -> T: ...
@overload
def parse(settings: T, argv: Sequence[str], *, prog: str, description: str) -> T: ...
def parse(settings: type[T] | T, argv: Sequence[str], *, prog: str, description: str) -> T:
    """Settings from flags; `settings` is a dataclass, or an instance whose values are the defaults.

    A flag is a field's name with `-` or `_`. A field's docstring is its help, a group's docstring heads the group.
    Leaves with SystemExit after --help (0) and after what tyro refuses (2). Raises SettingsError for an unknown option, a
    wrong value, and an empty word, which as a path would be the current folder.
    """
    for before, word in zip(("", *argv), argv, strict=False):
        if not word or (word.startswith("--") and word.endswith("=")):
            what = word[:-1] or (before if before.startswith("-") else "a name")
            raise SettingsError(f"{what} is empty; is a shell variable not set?")
    plain = _parse_plain(settings, argv)
    return _parse_by_tyro(settings, argv, prog, description) if plain is None else plain


def _parse_by_tyro(settings: type[T] | T, argv: Sequence[str], prog: str, description: str) -> T:
    import tyro

    kind = typing.cast("type[T]", settings if isinstance(settings, type) else type(settings))
    # Give tyro the marks in its own words; ours stay beside them.
    for name, hint, mark in _fields(kind):
        if mark.positional:
            kind.__annotations__[name] = Annotated[hint, tyro.conf.Positional, mark]
        elif mark != Mark():
            words = tyro.conf.arg(aliases=[mark.alias] if mark.alias else None, metavar=mark.metavar)
            kind.__annotations__[name] = Annotated[hint, words, mark]
    before = os.environ.get("COLUMNS")
    if shutil.get_terminal_size().columns < _LEAST_COLUMNS:
        os.environ["COLUMNS"] = str(_LEAST_COLUMNS)
    try:
        return tyro.cli(
            kind,
            args=list(argv),
            prog=prog,
            description=f"{description}\n--quiet: results and errors only. --verbose: more detail.",
            default=tyro.MISSING_NONPROP if isinstance(settings, type) else settings,
            config=(tyro.conf.OmitArgPrefixes,),
        )
    except (ValueError, TypeError) as error:  # a field's own check
        raise SettingsError(str(error)) from error
    finally:
        if before is None:
            os.environ.pop("COLUMNS", None)
        else:
            os.environ["COLUMNS"] = before


def _fields(kind: Any) -> Iterator[tuple[str, Any, Mark]]:
    """(name, type, mark) of each field, those of groups included."""
    for name, hint, marks in config.flat_fields(kind):
        yield name, hint, next((mark for mark in marks if isinstance(mark, Mark)), Mark())


def _parse_plain(settings: type[T] | T, argv: Sequence[str]) -> T | None:
    """The settings of flags with one value each; None where anything is unusual, for tyro to look at."""
    fields = list(_fields(settings if isinstance(settings, type) else type(settings)))
    by_flag = {f"--{name.replace('_', '-')}": (name, hint) for name, hint, _ in fields}
    by_flag |= {mark.alias: (name, hint) for name, hint, mark in fields if mark.alias}
    values: dict[str, Any] = {}
    positional: list[str] = []
    words = iter(argv)
    try:
        for word in words:
            if not word.startswith("-") or word == "-":
                positional.append(word)
                continue
            flag, equals, value = word.partition("=")
            flag = flag.replace("_", "-")
            negated = f"--{flag[5:]}" if flag.startswith("--no-") else flag
            if not {flag, negated} & {*by_flag, "-h", "--help", "--"}:
                raise SettingsError(f"there is no option {flag}.{did_you_mean(flag, by_flag)} --help lists them.")
            name, hint = by_flag[flag if flag in by_flag else negated]
            if name in values:
                return None
            if hint is bool and not equals:
                values[name] = flag in by_flag
                continue
            value = value if equals else next(words)
            if value.startswith("-") and not equals:
                return None
            try:
                values[name] = _value(value, hint)
            except (ValueError, KeyError):
                if kinds := _kinds(hint):
                    raise SettingsError(f"{flag} is {' or '.join(kinds)}, got '{value}'.") from None
                raise
        for name, hint, _ in [field for field in fields if field[2].positional and (positional or field[0] in values)]:
            many = typing.get_origin(hint) is tuple
            item = typing.get_args(hint)[0] if many else hint
            taken, positional = (positional, []) if many else (positional[:1], positional[1:])
            converted = tuple(_value(word, item) for word in taken)
            values[name] = converted if many else converted[0]
        if positional:
            return None
        return settings(**values) if isinstance(settings, type) else config.replace(settings, **values)
    except (KeyError, StopIteration, IndexError, ValueError, TypeError):
        return None


def _kinds(hint: Any) -> list[str]:
    """What a flag of this type takes, in words; empty for types that tyro describes better."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [_kinds(option) for option in typing.get_args(hint) if option is not type(None)]
        return [word for words in reversed(kinds) for word in words] if all(kinds) else []
    if typing.get_origin(hint) is Literal:
        return [str(option) for option in typing.get_args(hint)]
    return {int: ["a whole number"], float: ["a number"]}.get(hint, [])


def _value(word: str, hint: Any) -> Any:
    """One word as the type `hint`. Raises ValueError where the word, or the type, is not a plain one."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [option for option in typing.get_args(hint) if option is not type(None)]
        if word == "None":
            raise ValueError
        for kind in sorted(kinds, key=lambda kind: str(typing.get_origin(kind)) != str(Literal)):
            with contextlib.suppress(ValueError, KeyError):
                return _value(word, kind)
        raise ValueError
    if typing.get_origin(hint) is Literal:
        return {str(option): option for option in typing.get_args(hint)}[word]
    if hint not in (int, float, str, Path) or (hint in (int, float) and "_" in word):
        raise ValueError
    return hint(word)


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
