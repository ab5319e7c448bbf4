"""Settings: frozen keyword-only dataclasses, in groups or not, and their flat YAML files (their flags: flags.py).

A dataclass may hold other dataclasses, the groups. Flags and files are flat: a field of a group is named by itself.
"""

import contextlib
import dataclasses
import logging
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from srgan.errors import SettingsError, did_you_mean
from srgan.fs import expanded, printable

log = logging.getLogger("srgan")

T = TypeVar("T")
RETIRED = frozenset({"graph", "quiet", "max_rollbacks"})
"""Settings of earlier versions: files that hold them are accepted, the values are ignored."""
MAX_CHARACTERS = 30_000
"""Of a settings file; PyYAML takes a second for so many when they are nested."""


def read_yaml(path: Path) -> dict[str, Any]:
    """A flat YAML file of settings as a dictionary. Raises SettingsError."""
    import yaml

    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_CHARACTERS + 1)
        if len(text) > MAX_CHARACTERS:
            raise SettingsError(f"{path} is longer than {MAX_CHARACTERS:,} characters; a settings file is a few lines.")
        _check_structure(text, path)
        loaded = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror or error if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"the settings file {path} cannot be read: {reason}.") from error
    # Wrong tags raise LookupError or AttributeError in PyYAML.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        raise SettingsError(f"{path} is not valid YAML: {printable(' '.join(str(error).split()))}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        kinds = {list: "list", str: "text", int: "number", float: "number"}
        kind = kinds.get(type(loaded), type(loaded).__name__)
        raise SettingsError(f"{path} must hold lines like `learning_rate: 0.0001`, but its top level is a {kind}.")
    return {key if isinstance(key, str) else _text(key): value for key, value in loaded.items()}


def from_mapping(default: T, mapping: Mapping[str, Any], *, where: str) -> T:
    """`default` with the values of `mapping`; keys may use `-` or `_`. `where` begins the messages.

    Raises SettingsError for a key that is not a field, with the nearest name, and for a value of another type.
    """
    hints = {field.name: hint for _, field, hint, _ in flat_fields(type(default))}
    changes: dict[str, Any] = {}
    retired = []
    for key, value in mapping.items():
        name = key.replace("-", "_")
        if name in hints:
            changes[name] = convert(value, hints[name], f"{where}: {name}")
        elif name in RETIRED:
            retired.append(name)
        else:
            guess = did_you_mean(name, hints) or f" Known are: {', '.join(hints)}."
            raise SettingsError(f"{where}: there is no setting '{_text(key)}'.{guess}")
    if retired:
        log.info(f"{where}: no longer used and ignored: {', '.join(retired)}.")
    try:
        return replace(default, **changes)
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{where}: {error}") from error


def replace(settings: T, **changes: Any) -> T:
    """A copy with other values; fields of groups are named by themselves. Raises TypeError for an unknown name."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(typing.cast(Any, settings)):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [inner.name for _, inner, *_ in flat_fields(type(value)) if inner.name in changes]
            value = replace(value, **{name: changes.pop(name) for name in names})
        if field.init:
            values[field.name] = value
    return typing.cast(T, dataclasses.replace(typing.cast(Any, settings), **values | changes))


def to_mapping(settings: Any) -> dict[str, Any]:
    """Settings as plain values by flat names: numbers, texts, lists, None."""
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        flat |= to_mapping(value) if dataclasses.is_dataclass(value) else {field.name: plain(value)}
    return flat


def to_yaml(settings: Any) -> str:
    """Settings as a flat YAML text that `read_yaml` and `from_mapping` turn back into the same settings."""
    import yaml

    return str(yaml.safe_dump(to_mapping(settings), sort_keys=False, allow_unicode=True))


def plain(value: Any, not_finite: Callable[[float], str | None] = str) -> Any:
    """A value as JSON and YAML have it: tuples as lists; paths as texts, numbers that are not finite by `not_finite`."""
    if isinstance(value, Mapping):
        return {str(name): plain(item, not_finite) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item, not_finite) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else not_finite(value)
    return value if value is None or isinstance(value, (int, str)) else str(value)


def to_json(values: Mapping[str, Any]) -> str:
    """Plain values as one line of JSON, keys sorted."""
    import json

    return json.dumps(plain(values), sort_keys=True, ensure_ascii=False)


def flat_fields(kind: Any) -> Iterator[tuple[type, dataclasses.Field[Any], Any, list[Any]]]:
    """(dataclass, field, type, what its annotation says beside the type) of each field, those of groups included."""
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        hint, marks = hints[field.name], list[Any]()
        if typing.get_origin(hint) is typing.Annotated:
            hint, *marks = typing.get_args(hint)
        if dataclasses.is_dataclass(hint):
            yield from flat_fields(hint)
        elif field.init:
            yield kind, field, hint, marks


def convert(value: Any, hint: Any, where: str, *, word: bool = False) -> Any:
    """`value` as the type `hint`, where nothing is lost by it; a `word` of a command line may stand for a number.

    Raises SettingsError, which `where` begins.
    """
    for option in _options(hint):
        origin, arguments = typing.get_origin(option), typing.get_args(option)
        if origin is Literal:
            for choice in arguments:
                if (value == choice and type(value) is type(choice)) or (word and value == str(choice)):
                    return choice
        elif origin is tuple and isinstance(value, (list, tuple)):
            return tuple(convert(item, arguments[0], where) for item in value)
        elif option is Path and isinstance(value, str) and value:
            return Path(value if word else expanded(value))
        elif (option is float or (option is int and word)) and type(value) in (int, float, str):
            with contextlib.suppress(ValueError, OverflowError):
                return option(value)  # YAML reads 1e-4 as a text
        elif type(value) is option:
            return value
    got = f"'{_text(value)}'" if isinstance(value, str) else _text(value)
    raise SettingsError(f"{where} is {' or '.join(words for _, words in kinds(hint))}, got {got}.")


def kinds(hint: Any) -> list[tuple[str, str]]:
    """What a setting of this type takes, beside nothing: as a placeholder, and in words."""
    names = {int: ("N", "a whole number"), float: ("X", "a number"), bool: ("", "true or false")}
    names |= {Path: ("PATH", "a path"), str: ("TEXT", "a text")}
    found = []
    for option in _options(hint):
        if typing.get_origin(option) is Literal:
            found += [(str(choice), str(choice)) for choice in typing.get_args(option)]
        elif option is not type(None):
            found.append(names.get(option, ("", "a list")))
    return found


def _options(hint: Any) -> tuple[Any, ...]:
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if union else (hint,)


def _text(value: Any) -> str:
    """A value of a file as part of one sentence."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except (ValueError, RecursionError):  # more digits, or deeper, than Python shows
        text = f"a {type(value).__name__} that cannot be shown"
    return printable(text)


def _check_structure(text: str, path: Path) -> None:
    """Refuse nested values, which aliases multiply to gigabytes ("billion laughs"), and a key that occurs twice."""
    import yaml

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        return  # read_yaml says what it is
    names = [str(key.value).replace("-", "_") for key, _ in root.value]
    for name, (_, value) in zip(names, root.value, strict=True):
        items = value.value if isinstance(value, yaml.SequenceNode) else [value]
        if not all(isinstance(item, yaml.ScalarNode) for item in items):
            raise SettingsError(f"{path}: settings are flat, but the value of '{printable(name)}' is nested.")
        if names.count(name) > 1:
            raise SettingsError(f"{path}: '{printable(name)}' occurs twice.")
