"""Flags: every type, groups, mistakes, help."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest

from srgan import flags
from srgan.errors import SrganError
from tests.test_config import Fan


@dataclass(frozen=True, kw_only=True)
class Oven:
    """Settings with every type that ours have."""

    dishes: flags.Positional[tuple[Path, ...]] = ()
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
    return flags.parse(Oven, argv, prog="oven", start=Oven())


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
    assert flags.parse(Oven, ["--no-dark"], prog="oven", start=start) == Oven(dishes=(Path("a"),), train_steps=99)


@pytest.mark.parametrize("argv", [("a", "-o", "-", "b"), ("-o", "-", "--", "a", "b"), ("-o=-", "a", "--", "b")])
def test_names_stand_on_both_sides_of_a_flag(argv):
    assert parse(*argv) == Oven(dishes=(Path("a"), Path("b")), output=Path("-"))


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--train-steps", "many"], "--train-steps is a whole number, got 'many'"),
        (["--content=vgg19"], "--content is vgg54 or mse, got 'vgg19'"),
        (["--output", ""], "--output is empty"),  # not the current folder
        (["--output="], "--output is empty"),
        ([""], "a name is empty"),
        (["--train-step", "3"], "there is no option --train-step. Did you mean '--train-steps'?"),
        (["--train-light"], "there is no option --train-light. Did you mean '--light' or '--train-steps'?"),
        (["-x"], "there is no option -x. `oven --help`"),
        (["-ouput", "x"], "there is no option -ouput. Did you mean '--output'?"),  # not -o uput
        (["--quality"], "Argument --quality: expected one argument (one that begins with - is written --option=value)"),
        (["--dark=1"], "ignored explicit argument '1'"),
        (["--speed", "inf"], "speed is at least 0, got inf"),
        (["--train-steps=-1"], "train_steps is at least 0, got -1"),
    ],
)
def test_mistakes_are_one_sentence(argv, sentence):
    with pytest.raises(SrganError) as error:
        parse("a", *argv)
    assert sentence in str(error.value) and error.value.exit_code == 2


def test_help_shows_docstrings_by_group(capsys):
    with pytest.raises(SystemExit) as end:
        parse("--help")
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert (
        "Settings with every type that ours have. --quiet" in shown
        and "What goes in" in shown
        and "How the air moves:" in shown
        and "Turns per second. (default: 1.0)" in shown
    )
    assert "--fan" not in shown and "-o" in shown and "--quiet" in shown


def test_lists_add_up_and_words_behind_two_hyphens_are_names():
    given = parse("a", "--names", "x", "--train-steps", "3", "--names", "y", "--", "-b.png")
    assert (given.names, given.train_steps, given.dishes) == (("x", "y"), 3, (Path("a"), Path("-b.png")))
    assert parse("--names", "token=", "x").names == ("token=", "x")
