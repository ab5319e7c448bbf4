"""A sample of scripts/fuzz-inputs, and what it has found."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from srgan import config as settings
from srgan.errors import ImageError, SettingsError
from srgan.train import recipes
from tests.support import load_script

ROOT = Path(__file__).parents[1]


def test_a_sample_of_hostile_inputs_is_taken_or_refused():
    numbers = "--images 100 --weights 40 --settings 40 --seed 20261123 --seconds 60".split()
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "fuzz-inputs"), *numbers], capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.count("refused") == 3, done.stdout + done.stderr


def test_the_fuzzer_knows_a_fault(tmp_path):
    fuzz = load_script("fuzz-inputs")

    def raising(error: BaseException) -> Callable[[int, int], None]:
        def case(seed: int, number: int) -> None:
            raise error

        return case

    verdicts = {
        ImageError("a.png is empty."): "refused",
        ImageError("two\nlines"): "FAULT",
        ImageError("long" * 999): "FAULT",
        ZeroDivisionError(): "FAULT",
        MemoryError(): "FAULT",
    }
    for error, verdict in verdicts.items():
        assert fuzz.attempt(raising(error), 0, 0, tmp_path)[0] == verdict
    assert fuzz.attempt(lambda seed, number: None, 0, 0, tmp_path)[0] == "taken"
    (tmp_path / "stray").touch()
    assert fuzz.attempt(lambda seed, number: None, 0, 0, tmp_path)[0] == "FAULT"


@pytest.mark.parametrize(
    "text",
    [
        "learning_rate: 0x" + "f" * 6000,
        "0x" + "f" * 6000 + ": 1",
        "learning_rate: '" + "x" * 20_000 + "'",
        "learning_rate: 1" + "0" * 400,
        "seed: " + "[" * 3000,
        "seed: " + "[1, " * 7000,
        "seed: !!timestamp x",
        "seed: !!bool maybe",
        'recipe: ["\\e[31m"]',
    ],
)
def test_nasty_settings_are_one_short_sentence(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        settings.from_mapping(recipes.quick(), settings.read_yaml(path), where=str(path))
    sentence = str(caught.value)
    assert len(sentence) < 2000 and sentence.isprintable()
