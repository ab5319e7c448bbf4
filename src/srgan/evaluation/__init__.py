"""Test sets -> scores per picture and their means, beside the bicubic control and the paper's table."""

from __future__ import annotations

from srgan.evaluation.command import main
from srgan.evaluation.paper import CONTROL, PAPER, PROTOCOL
from srgan.evaluation.scoring import (
    Scores,
    SetScores,
    bicubic_x4,
    evaluate,
    evaluate_pictures,
    mean,
    score,
)
from srgan.evaluation.testsets import Pair, matched, test_pairs

__all__ = [
    "CONTROL",
    "PAPER",
    "PROTOCOL",
    "Pair",
    "Scores",
    "SetScores",
    "bicubic_x4",
    "evaluate",
    "evaluate_pictures",
    "main",
    "matched",
    "mean",
    "score",
    "test_pairs",
]
