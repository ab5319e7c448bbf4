"""The settings: flat files of earlier versions, and what a resumed run may change."""

import pytest

from srgan import config
from srgan.commands.train import Pipeline, parse_command
from srgan.errors import SettingsError
from srgan.train import recipes
from srgan.train.settings import FREE_TO_CHANGE, TrainSettings, changed


def test_a_checkpoint_from_before_a_setting_had_its_default():
    before = config.to_mapping(TrainSettings()) | {"graph": True, "quiet": True}  # two that are gone
    del before["shift"]
    assert changed(before, TrainSettings()) == {}
    assert changed(before, TrainSettings.flat(shift=True)) == {"shift": (False, True)}


def test_a_settings_file_of_the_first_edition_loads():
    before = config.to_mapping(recipes.best()) | {"graph": True, "quiet": False, "seed": 7, "texture_weight": "2e-1"}
    settings = config.from_mapping(recipes.paper(), before, where="settings.yaml")
    assert settings == config.replace(recipes.best(), seed=7, texture_weight=0.2)


def test_a_run_of_an_earlier_version_downloads_nothing_and_has_defaults_when_resumed(tmp_path):
    """Defaults of the settings, as in `changed`, which compares a checkpoint's, and not those of the recipe."""
    (tmp_path / "settings.yaml").write_text("fetch: true\nevaluate: true\nrecipe: best\nseed: 3\n")
    command = parse_command(["--output", str(tmp_path), "--resume", "--recipe", "best"])
    assert (command.run.seed, command.pipeline, command.networks) == (3, Pipeline(), TrainSettings().networks)


@pytest.mark.parametrize(("recipe", "report"), [("quick", True), ("div2k", False)])
def test_a_resumed_quick_run_ends_with_its_report(recipe, report, tmp_path):
    (tmp_path / "settings.yaml").write_text(f"recipe: {recipe}\n")
    command = ["--output", str(tmp_path), "--resume"]
    assert parse_command(command).pipeline.report == report
    assert not parse_command([*command, "--no-report"]).pipeline.report


def test_free_to_change_are_settings():
    assert config.to_mapping(TrainSettings()).keys() >= FREE_TO_CHANGE


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"batch_size": 0}, "batch_size is a whole number of at least 1, got 0"),
        ({"width": 4096}, "width is a whole number from 1 to 1024, got 4096"),
        ({"crop": 40}, "crop is a multiple of 16"),
        ({"grid_weight": -1.0}, "grid_weight is a number of at least 0, got -1"),
        ({"content_weight": float("nan")}, "content_weight is a number of at least 0, got nan"),
        ({"learning_rate": 0.0}, "learning_rate is a number above 0"),
        ({"allow_change": ("learning_rat",)}, "allow_change: there is no setting 'learning_rat'. Did you mean"),
        ({"seed": 2**64 - 1}, r"seed is a whole number from 0 to 2\^62"),
        ({"discriminator_rate": float("inf")}, "discriminator_rate is a number of at least 0, got inf"),
        ({"ema": 1.0}, "ema is a number from 0 to less than 1"),
        ({"degrade": "all", "loader": "device"}, "degrade compresses the crops on the CPU"),
        ({"texture_weight": 1.0}, r"texture_weight.*discriminator features"),
        ({"discriminator": "features", "content": "mse"}, r"features.*VGG19.*--content vgg54"),
    ],
)
def test_a_wrong_value_is_a_sentence(values, words):
    with pytest.raises(SettingsError, match=words):
        TrainSettings.flat(**values)
