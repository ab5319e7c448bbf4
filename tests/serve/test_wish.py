from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srgan.serve.problems import Problem
from srgan.serve.wish import PARAMETERS, Wish, wish_from_query

MODELS = ("srgan", "srresnet")


def wish(*query: tuple[str, str], texture: bool = True) -> Wish:
    return wish_from_query(query, models=MODELS, texture=texture)


def test_without_parameters_it_is_what_the_command_does_by_default() -> None:
    assert wish() == Wish(model="srgan", texture=None, scale=4, format=None, provenance=True)


def test_every_parameter_is_read() -> None:
    asked = wish(("texture", "0.25"), ("scale", "3"), ("format", "tiff"), ("provenance", "false"))
    assert asked == Wish(model="srgan", texture=0.25, scale=3, format="tiff", provenance=False)
    assert wish(("model", "srresnet")).model == "srresnet"


@pytest.mark.parametrize(
    ("query", "status", "sentence"),
    [
        ([("txture", "1")], 400, "Did you mean 'texture'?"),
        ([("scale", "2"), ("scale", "3")], 400, "given twice"),
        ([("scale", "5")], 400, "one of 2, 3, 4"),
        ([("scale", "4.0")], 400, "one of 2, 3, 4"),
        ([("model", "../../etc/passwd")], 400, "one of srgan, srresnet"),
        ([("model", "/tmp/weights.safetensors")], 400, "one of srgan, srresnet"),
        ([("texture", "nan")], 400, "from 0 to 1"),
        ([("texture", "1.01")], 400, "from 0 to 1"),
        ([("texture", "")], 400, "from 0 to 1"),
        ([("format", "exe")], 400, "one of png"),
        ([("provenance", "maybe")], 400, "true, false"),
        ([("texture", "0.5"), ("model", "srgan")], 409, "excludes"),
    ],
)
def test_what_makes_no_sense_is_a_sentence(query: list[tuple[str, str]], status: int, sentence: str) -> None:
    with pytest.raises(Problem, match=sentence) as refused:
        wish(*query)
    assert refused.value.status == status


def test_no_texture_without_both_models() -> None:
    with pytest.raises(Problem, match="no texture"):
        wish(("texture", "0.5"), texture=False)


@given(st.lists(st.tuples(st.sampled_from(PARAMETERS) | st.text(), st.text()), max_size=4))
def test_any_query_is_a_wish_on_offer_or_one_harmless_sentence(query: list[tuple[str, str]]) -> None:
    try:
        asked = wish(*query)
    except Problem as problem:
        assert problem.status in (400, 409)
        assert problem.sentence.isprintable() and len(problem.sentence) < 300
    else:
        assert asked.model in MODELS and asked.scale in (2, 3, 4)
        assert asked.texture is None or 0 <= asked.texture <= 1
