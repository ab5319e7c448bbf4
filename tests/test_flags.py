"""Flags: every type, groups, mistakes; the plain reader and tyro agree."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srgan import flags
from srgan.errors import SettingsError
from tests.test_config import Fan


@dataclass(frozen=True, kw_only=True)
class Oven:
    """Settings with every type that ours have."""

    dishes: flags.Positional[tuple[Path, ...]]
    """What goes in."""
    output: Annotated[Path | None, flags.Mark(alias="-o")] = None
    train_steps: int = 7
    quality: int | None = None
    content: Literal["vgg54", "mse"] = "vgg54"
    scale: Literal[2, 3, 4] = 4
    names: tuple[str, ...] = ()
    dark: bool = False
    light: bool = True
    fan: Fan = field(default_factory=Fan)

    def __post_init__(self) -> None:
        if self.train_steps < 0:
            raise ValueError(f"train_steps is at least 0, got {self.train_steps}")


def parse(*argv: str) -> Oven:
    return flags.parse(Oven, argv, prog="oven", description="An oven.")


def test_every_type():
    words = "a.png b.png -o c --train-steps 3 --quality 9 --content mse --scale 2 --dark --no-light --speed 0.5"
    oven = Oven(
        dishes=(Path("a.png"), Path("b.png")),
        output=Path("c"),
        train_steps=3,
        quality=9,
        content="mse",
        scale=2,
        dark=True,
        light=False,
        fan=Fan(speed=0.5),
    )
    assert parse(*words.split()) == oven
    assert parse(*words.replace("-steps", "_steps").replace("speed 0.5", "speed=0.5").split()) == oven
    assert parse("a", "--names", "x", "y") == Oven(dishes=(Path("a"),), names=("x", "y"))


def test_an_instance_gives_the_defaults():
    start = Oven(dishes=(Path("a"),), train_steps=99, dark=True)
    assert flags.parse(start, ["--no-dark"], prog="oven", description="") == Oven(dishes=(Path("a"),), train_steps=99)


WORDS = st.sampled_from(
    "a.png - --output -o --output=x --train-steps --train_steps=4 3 -3 1_0 0x1 --quality None --content mse vgg "
    "--scale 2 5 --names --dark --no-dark --no-light --dark=1 --speed 0.5 1e-3 inf --no-speed -- --spee --no-".split()
)


@given(st.lists(WORDS, max_size=5))
@settings(max_examples=100, deadline=None)
def test_what_the_plain_reader_takes_tyro_takes_too(argv):
    try:
        plain = flags._parse_plain(Oven, argv)
    except SettingsError:  # a field's own check; tyro shows the same sentence
        return
    if plain is not None:
        positional_first = sorted(argv, key=lambda word: word != "-" and word.startswith("-"))
        try:
            assert flags._parse_by_tyro(Oven, argv, "oven", "") == plain
        except SystemExit:  # tyro takes no positional words on both sides of a flag
            assert positional_first != argv


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--train-steps", "many"], "--train-steps is a whole number, got 'many'"),
        (["--content=vgg19"], "--content is vgg54 or mse, got 'vgg19'"),
        (["--output", ""], "--output is empty"),  # not the current folder
        (["--output="], "--output is empty"),
        ([""], "a name is empty"),
        (["--train-stepz", "3"], r"no option --train-stepz\. Did you mean '--train-steps'\?"),
        (["-v", "b"], r"no option -v\. --help"),
    ],
)
def test_wrong_values_are_one_sentence(argv, sentence):
    with pytest.raises(SettingsError, match=sentence):
        parse("a", *argv)


def test_help_shows_docstrings_by_group(capsys):
    with pytest.raises(SystemExit) as end:
        parse("--help")
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert "What goes in" in shown and "How the air moves" in shown and "Turns per second" in shown
    assert "--fan" not in shown and "-o" in shown and "--quiet" in shown


def test_help_fits_the_narrowest_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "3")
    with pytest.raises(SystemExit):
        parse("--help")
    assert "--train-steps" in capsys.readouterr().out and os.environ["COLUMNS"] == "3"


def test_a_fields_own_check(capsys):
    with pytest.raises(SettingsError, match="speed is at least 0, got inf"):
        parse("a", "--speed", "inf")
    with pytest.raises((SystemExit, SettingsError)) as end:  # tyro shows a ValueError itself
        parse("a", "--train-steps=-1")
    assert "train_steps is at least 0, got -1" in capsys.readouterr().err + str(end.value)
    assert getattr(end.value, "code", None) == 2 or getattr(end.value, "exit_code", None) == 2
