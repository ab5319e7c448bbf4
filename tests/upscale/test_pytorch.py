"""The PyTorch engine's precisions and its fallback to fp32 (the rest: test_openvino.py)."""

import numpy as np
import pytest

from srgan import Upscaler
from srgan.errors import UsageError

torch = pytest.importorskip("torch")

from srgan.upscale.engine import OutOfMemory  # noqa: E402
from srgan.upscale.pytorch import PyTorchEngine  # noqa: E402

CPU = torch.device("cpu")


def test_bf16_is_near_fp32(small):
    lr_unit = np.random.default_rng(0).random((1, 3, 20, 16), np.float32)
    exact = PyTorchEngine(small, "fp32", device=CPU).run(lr_unit)
    output = PyTorchEngine(small, "bf16", device=CPU).run(lr_unit)
    assert output.dtype == np.float32
    assert 0 < np.abs(output - exact).mean() < 0.02 * exact.std()


def test_overflow_falls_back_to_fp32(loud, caplog):
    lr_unit = np.random.default_rng(0).random((1, 3, 9, 9), np.float32)
    engine = PyTorchEngine(loud, "fp16", device=CPU)
    expected = PyTorchEngine(loud, "fp32", device=CPU).run(lr_unit)
    for _ in range(2):
        output = engine.run(lr_unit)
        assert np.isfinite(output).all()
        np.testing.assert_allclose(output, expected, rtol=1e-4)
    assert len(caplog.messages) == 1 and "computing in fp32" in caplog.messages[0]
    assert engine.precision == "fp32"


def test_auto_is_fp32_on_cpu(small):
    assert PyTorchEngine(small, device=CPU).precision == "fp32"


def test_int8_is_for_openvino(small):
    with pytest.raises(UsageError, match="int8 needs the engine openvino"):
        Upscaler(small, engine="pytorch", precision="int8")


def test_out_of_memory(small, monkeypatch):
    engine = PyTorchEngine(small, "fp32", device=CPU)

    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nmore")

    monkeypatch.setattr(engine._generator, "forward", fail)
    with pytest.raises(OutOfMemory, match="CUDA out of memory"):
        engine.run(np.zeros((1, 3, 4, 4), np.float32))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_on_a_gpu(small, precision):
    lr = np.random.default_rng(1).integers(0, 256, (64, 50, 3), np.uint8)
    output = Upscaler(small, engine="pytorch", precision=precision).upscale(lr).astype(int)
    expected = Upscaler(small, engine="openvino").upscale(lr)
    assert np.abs(output - expected).mean() < (0.2 if precision == "fp32" else 2.0)
