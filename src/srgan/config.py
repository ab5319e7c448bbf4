"""Settings: frozen keyword-only dataclasses, their flags, and their flat YAML files."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

from srgan.errors import SettingsError
from srgan.fs import printable

T = TypeVar("T")
_LONGEST = 30_000
"""Characters of a settings file; PyYAML takes a second for so many when they are nested."""


@overload
def parse(settings: type[T], argv: Sequence[str], *, prog: str, description: str) -> T: ...
@overload
def parse(settings: T, argv: Sequence[str], *, prog: str, description: str) -> T: ...
def parse(settings: type[T] | T, argv: Sequence[str], *, prog: str, description: str) -> T:
    """Flags -> settings; `settings` is a dataclass, or an instance whose values are the defaults.

    Options are the fields' names with `-` or `_`; the fields' docstrings are the help. Leaves with
    SystemExit after --help (0) and after an unknown option (2).
    """
    import tyro

    kind = typing.cast("type[T]", settings if isinstance(settings, type) else type(settings))
    default = tyro.MISSING_NONPROP if isinstance(settings, type) else settings
    try:
        return tyro.cli(
            kind,
            args=list(argv),
            prog=prog,
            description=description,
            default=default,
            config=(tyro.conf.OmitArgPrefixes,),
        )
    except (ValueError, TypeError) as error:  # a field's own check
        raise SettingsError(str(error)) from error


def read_yaml(path: Path) -> dict[str, Any]:
    """A flat YAML file of settings as a dictionary. Raises SettingsError."""
    import yaml

    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_LONGEST + 1)
        if len(text) > _LONGEST:
            raise SettingsError(f"{path} is longer than {_LONGEST:,} characters; a settings file is a few lines.")
        _refuse_depth(text, path)
        loaded = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the settings file {path} cannot be read: {_reason(error)}.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SettingsError(f"{path} is not valid YAML: {_short(' '.join(str(error).split()))}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise SettingsError(
            f"{path} must hold lines like `learning_rate: 0.0001`, but its top level is a {_kind(loaded)}."
        )
    return {key if isinstance(key, str) else _short(key): value for key, value in loaded.items()}


def from_mapping(default: T, mapping: Mapping[str, Any], *, where: str) -> T:
    """`default` with the values of `mapping`; keys may use `-` or `_`.

    Raises SettingsError for a key that is not a field, with the nearest name, and for a value of another type.
    """
    kind = type(default)
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(typing.cast(Any, default)) if field.init]
    changes: dict[str, Any] = {}
    for key, value in mapping.items():
        name = key.replace("-", "_")
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            guess = f" Did you mean '{near[0]}'?" if near else f" Known are: {', '.join(names)}."
            raise SettingsError(f"{where}: there is no setting '{_short(key)}'.{guess}")
        changes[name] = _convert(value, hints[name], f"{where}: {name}")
    try:
        return typing.cast(T, dataclasses.replace(typing.cast(Any, default), **changes))
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{where}: {error}") from error


def to_mapping(settings: Any) -> dict[str, Any]:
    """Settings as plain values: numbers, texts, lists, None."""
    return {field.name: _plain(getattr(settings, field.name)) for field in dataclasses.fields(settings)}


def to_yaml(settings: Any) -> str:
    """Settings as a flat YAML text that `read_yaml` and `from_mapping` turn back into the same settings."""
    import yaml

    return str(yaml.safe_dump(to_mapping(settings), sort_keys=False, allow_unicode=True))


def _convert(value: Any, hint: Any, where: str) -> Any:
    """`value` as the type `hint`, where nothing is lost by it."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _convert(value, arguments[0], where)
    if origin in (typing.Union, types.UnionType):
        for option in arguments:
            try:
                return _convert(value, option, where)
            except SettingsError:
                continue
    elif origin is Literal:
        if any(value == option and type(value) is type(option) for option in arguments):
            return value
    elif origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_convert(item, arguments[0], where) for item in value)
    elif hint is type(None):
        if value is None:
            return None
    elif hint is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            return float(value)  # YAML reads 1e-4 as a text
        except (ValueError, OverflowError):
            pass
    elif hint is Path and isinstance(value, str):
        return Path(value)
    elif type(value) is hint:
        return value
    got = f"the text '{_short(value)}'" if isinstance(value, str) else _short(value)
    raise SettingsError(f"{where}: expected {_expected(hint)}, got {got}.")


def _short(value: Any) -> str:
    """A value from a stranger's file as part of one sentence: printable, 200 characters at most."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except (ValueError, RecursionError):  # more digits, or deeper, than Python shows
        text = f"a {type(value).__name__} that cannot be shown"
    return printable(text)


def _expected(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, typing.get_args(hint)))
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(_expected(option) for option in typing.get_args(hint))
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", Path: "a path"}
    return names.get(hint, "nothing" if hint is type(None) else str(hint))


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


def _refuse_depth(text: str, path: Path) -> None:
    """Settings are flat: a few lines of aliases ("billion laughs") or brackets could cost gigabytes or minutes."""
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise SettingsError(f"{path}: YAML aliases (*name) are not taken in settings.")
        if getattr(event, "tag", None) is not None:  # `!!timestamp x` is an AttributeError in PyYAML
            raise SettingsError(f"{path}: YAML tags (!!name) are not taken in settings.")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > 3:
                raise SettingsError(f"{path}: settings are flat, but its values are nested {depth} deep.")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _kind(value: Any) -> str:
    return {list: "list", str: "text", int: "number", float: "number"}.get(type(value), type(value).__name__)


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8 text"


def to_json(values: Mapping[str, Any]) -> str:
    """Plain values as one line of JSON, keys sorted."""
    import json

    return json.dumps({name: _plain(value) for name, value in values.items()}, sort_keys=True, ensure_ascii=False)
