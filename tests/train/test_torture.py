"""The short form of scripts/torture-resume: five SIGKILLs, then the same bits."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "torture-resume"


@pytest.mark.slow
def test_five_kills_change_no_bit():
    done = subprocess.run([sys.executable, str(SCRIPT), "--kills", "5", "--seed", "7"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 kills" in done.stdout and "identical" in done.stdout
