"""Settings: flags, YAML and back, and the sentence for each mistake."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from srgan.config import from_mapping, read_yaml, replace, to_json, to_mapping, to_yaml
from srgan.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Oven:
    """Settings with every type that ours have."""

    learning_rate: float = 1e-4
    """How fast it learns."""
    train_steps: int = 7
    name: str = "oven"
    data: Path | None = None
    content: Literal["vgg54", "mse"] = "vgg54"
    names: tuple[str, ...] = ()
    dark: bool = False

    def __post_init__(self) -> None:
        if self.train_steps < 0:
            raise SettingsError(f"train_steps is at least 0, got {self.train_steps}.")
        if self.learning_rate > 1:
            raise ValueError(f"learning_rate is at most 1, got {self.learning_rate}")


@dataclass(frozen=True, kw_only=True)
class Fan:
    """How the air moves."""

    speed: float = 1.0
    """Turns per second."""

    def __post_init__(self) -> None:
        if not 0 <= self.speed < float("inf"):
            raise SettingsError(f"speed is at least 0, got {self.speed}.")


@dataclass(frozen=True, kw_only=True)
class Kitchen:
    """Settings in groups."""

    oven: Oven = dataclasses.field(default_factory=Oven)
    fan: Fan = dataclasses.field(default_factory=Fan)
    guests: int = 2


PRINTED = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=12)
OVENS = st.builds(
    Oven,
    learning_rate=st.floats(0, 1),
    train_steps=st.integers(0, 10**9),
    name=PRINTED,
    data=st.none() | st.sampled_from([Path("data"), Path("a b/ü: x"), Path("#1"), Path("1e-4")]),
    content=st.sampled_from(["vgg54", "mse"]),
    names=st.lists(PRINTED, max_size=3).map(tuple),
    dark=st.booleans(),
)


def mapped(**values: object) -> Oven:
    return from_mapping(Oven(), values, where="run.yaml")


def yaml_file(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "run.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@given(oven=OVENS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_yaml_round_trip(tmp_path, oven):
    path = yaml_file(tmp_path, to_yaml(oven))
    assert from_mapping(Oven(), read_yaml(path), where="run.yaml") == oven


def test_1e_4_is_a_number_although_yaml_reads_a_text(tmp_path):
    assert read_yaml(yaml_file(tmp_path, "# nothing\n")) == {}
    values = read_yaml(yaml_file(tmp_path, "learning-rate: 1e-4\n"))
    assert values == {"learning-rate": "1e-4"}
    assert from_mapping(Oven(learning_rate=0.5), values, where="run.yaml").learning_rate == 1e-4


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- a\n- b\n", "its top level is a list"),
        ("just words", "its top level is a text"),
        ("42", "its top level is a number"),
        ("a: [1, 2\n", "not valid YAML"),
        ("a: &x [1, 2]\nb: [*x, *x]\n", "the value of 'b' is nested"),
        ("a: !!python/object/apply:os.system [true]\n", "not valid YAML"),
        ("a: !!timestamp x\n", "not valid YAML"),
        (b"a: \xff\xfe\n", "not UTF-8"),
        ("a: " + "x" * 1_000_001, "longer than 30,000 characters"),
        ("[" * 5000, "not valid YAML"),
        ("a: {b: {c: {d: {e: 1}}}}\n", "nested"),
        ("a: 2026-13-45\n", "not valid YAML"),
        ("train-steps: 1\nname: x\ntrain_steps: 2\n", "'train_steps' occurs twice"),
    ],
    ids="list text number broken alias code tag bytes huge deep nested date twice".split(),
)
def test_what_is_no_settings_file(text, sentence, tmp_path):
    path = yaml_file(tmp_path, text)
    with pytest.raises(SettingsError, match=sentence) as error:
        read_yaml(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_a_file_that_cannot_be_read(name, tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        read_yaml(tmp_path / name)


def test_an_unknown_key_names_the_nearest():
    with pytest.raises(
        SettingsError, match=r"run\.yaml: there is no setting 'learning_rat'\. Did you mean 'learning_rate'\?"
    ):
        mapped(learning_rat=1)
    with pytest.raises(SettingsError, match="Known are: learning_rate, train_steps, name"):
        mapped(zzz=1)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"train_steps": "7"}, "train_steps is a whole number, got '7'"),
        ({"train_steps": 7.0}, "is a whole number, got 7.0"),
        ({"train_steps": True}, "is a whole number, got True"),
        ({"learning_rate": "fast"}, "learning_rate is a number, got 'fast'"),
        ({"learning_rate": False}, "is a number, got False"),
        ({"learning_rate": [1]}, "is a number"),
        ({"name": 3}, "name is a text, got 3"),
        ({"name": None}, "is a text, got None"),
        ({"data": ""}, "data is a path, got ''"),
        ({"data": 3}, "data is a path, got 3"),
        ({"content": "vgg19"}, "content is vgg54 or mse, got 'vgg19'"),
        ({"names": "ab"}, "names is"),
        ({"names": [1]}, "names is a text, got 1"),
        ({"dark": "yes"}, "dark is true or false, got 'yes'"),
        ({"dark": 1}, "is true or false, got 1"),
        ({"train_steps": -1}, "train_steps is at least 0, got -1"),
        ({"learning_rate": 2}, "run.yaml: learning_rate is at most 1"),
    ],
)
def test_wrong_types_and_values(values, sentence):
    with pytest.raises(SettingsError) as error:
        mapped(**values)
    assert sentence in str(error.value)


def test_what_is_not_wrong(monkeypatch):
    assert mapped(learning_rate=0, data=None, names=["a"]) == Oven(learning_rate=0.0, names=("a",))
    assert type(mapped(learning_rate=0).learning_rate) is float
    assert mapped(data="d").data == Path("d")
    monkeypatch.setenv("HOME", "/home/me")
    assert mapped(data="~/photos").data == Path("/home/me/photos")
    assert mapped(data="~nobody-here/photos").data == Path("~nobody-here/photos")


def test_retired_settings_are_ignored_and_named_once(caplog):
    caplog.set_level("INFO", "srgan")
    assert from_mapping(Kitchen(), {"graph": True, "quiet": "yes", "train_steps": 3}, where="old.yaml") == Kitchen(
        oven=Oven(train_steps=3)
    )
    assert caplog.messages == ["old.yaml: no longer used and ignored: graph, quiet."]


def test_plain_values_and_json():
    oven = Oven(data=Path("d"), names=("a",))
    assert to_mapping(oven)["data"] == "d" and to_mapping(oven)["names"] == ["a"]
    assert to_json({"b": Path("ü"), "a": (1, 2)}) == '{"a": [1, 2], "b": "ü"}'


@given(oven=OVENS)
def test_groups_are_flat_files(oven):
    kitchen = Kitchen(oven=oven, fan=Fan(speed=0.5))
    flat = to_mapping(kitchen)
    names = [*(field.name for field in dataclasses.fields(Oven)), "speed", "guests"]
    assert list(flat) == [line.partition(":")[0] for line in to_yaml(Kitchen()).splitlines() if line[0] != "-"] == names
    assert from_mapping(Kitchen(), flat, where="run.yaml") == kitchen


def test_replace_by_flat_names():
    assert replace(Kitchen(), speed=3.0, guests=1) == Kitchen(fan=Fan(speed=3.0), guests=1)
    with pytest.raises(TypeError, match="spead"):
        replace(Kitchen(), spead=3.0)
