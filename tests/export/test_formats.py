"""`srgan export`: every format runs in its own runtime as its source does, or is not written."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import ncnn
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from srgan.commands.export import main
from srgan.errors import UsageError, WeightsError
from srgan.export import formats, parity
from srgan.export.formats import SUFFIXES
from srgan.export.parity import Nchw, images, reference
from srgan.model import weights
from srgan.model.config import GeneratorConfig, generator_layers
from srgan.model.weights import Weights
from srgan.upscale import int8
from srgan.upscale.mixture import mixture
from srgan.upscale.ncnn import build_graph
from srgan.upscale.openvino import core
from tests.support import random_weights

SLOW = pytest.param("torch", marks=pytest.mark.slow)
"""Tracing and loading a program takes PyTorch many seconds, however small it is; the traced module is quick."""
FORMATS = [SLOW if name == "torch" else name for name in SUFFIXES]
NAMED = {name: suffixes[0] for name, suffixes in SUFFIXES.items()}
CONFIGS = {
    "x4": GeneratorConfig(blocks=2, width=8),
    "x2": GeneratorConfig(blocks=2, width=8, scale=2, slopes="layer"),
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return written(tmp_path / "small.safetensors", CONFIGS["x4"])


def written(path: Path, config: GeneratorConfig) -> Path:
    made = random_weights(config, seed=4)
    weights.write(path, made.tensors, config=config, metadata={})
    return path


def run_file(path: Path, lr: Nchw) -> Nchw:
    """The file as a stranger would run it, without srgan."""
    if path.suffix == ".onnx":
        return np.asarray(onnxruntime.InferenceSession(str(path)).run(["sr"], {"lr": lr})[0])
    if path.suffix == ".param":
        net = ncnn.Net()
        net.opt.use_bf16_storage = net.opt.use_fp16_arithmetic = False
        assert net.load_param(str(path)) == 0 and net.load_model(str(path.with_suffix(".bin"))) == 0
        return np.minimum(np.stack([run_ncnn(net, image) for image in lr]), 1)
    if path.suffix == ".xml":
        compiled = core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return np.asarray(compiled(lr)["sr"])
    with torch.inference_mode():
        return torch.export.load(path).module()(torch.from_numpy(lr)).numpy()


def run_ncnn(net: Any, image: NDArray[np.float32]) -> NDArray[np.float32]:
    extractor = net.create_extractor()
    extractor.input("data", ncnn.Mat(image).clone())
    return np.array(extractor.extract("output")[1])


def metadata_of(path: Path) -> dict[str, Any]:
    if path.suffix == ".onnx":
        return {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    if path.suffix == ".xml":
        told = core().read_model(str(path)).get_rt_info()["srgan"]
        return {f"srgan.{key}": value.value for key, value in told.items()}
    if path.suffix == ".param":
        return dict(json.loads(path.with_suffix(".json").read_text()))
    extra = {"srgan.json": ""}
    torch.export.load(path, extra_files=extra)
    return dict(json.loads(extra["srgan.json"]))


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("format", FORMATS)
def test_output_at_other_sizes(tmp_path, format, kind):
    path = written(tmp_path / "m.safetensors", CONFIGS[kind])
    target = tmp_path / f"out{NAMED[format]}"
    assert main([str(path), "--format", format, "-o", str(target)]) == 0
    original = reference(weights.read(path))
    for size in ((1, 1, 1), (1, 5, 38), (3, 20, 12)):
        lr = images(size, seed=9)
        expected, output = original(lr), run_file(target, lr)
        assert output.dtype == np.float32 and output.shape == expected.shape
        assert output.min() >= 0 and output.max() <= 1
        np.testing.assert_allclose(output, expected, atol=2e-5)
    assert expected.std() > 0.05


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("kind", CONFIGS)
def test_module_that_is_traced(kind, half):
    made = random_weights(CONFIGS[kind], seed=4)
    module = formats.unit_module(made, half=half)
    lr = images((2, 9, 14), seed=9)
    with torch.inference_mode():
        output = module(torch.from_numpy(lr)).numpy()
    assert output.dtype == np.float32
    difference = np.abs(output - reference(made)(lr)).max()
    assert difference < (5e-3 if half else 2e-5) and (difference > 1e-5 or not half)


@pytest.mark.parametrize("format", FORMATS)
def test_metadata_of_the_file(tmp_path, model, format):
    target = tmp_path / f"out{NAMED[format]}"
    main([str(model), "--format", format, "-o", str(target)])
    told = metadata_of(target)
    blob, scaled = ("output", "(3, 4H, 4W)") if format == "ncnn" else ("sr", "(N, 3, 4H, 4W)")
    assert told["srgan.output"].startswith(f"{blob}: float32 {scaled}, RGB, 0..1, clamped")
    assert told["srgan.sha256"] == weights.read(model).sha256 and told["srgan.model"] == "small"
    assert GeneratorConfig(**json.loads(told["srgan.config"])) == CONFIGS["x4"]
    differences = json.loads(told["srgan.difference"])
    assert [tuple(one["size"]) for one in differences] == list(parity.SIZES)
    assert all(0 <= one["mean"] <= one["largest"] < 0.05 for one in differences)


@pytest.mark.parametrize("format", FORMATS)
def test_fp16_is_half_the_size_and_near(tmp_path, format, monkeypatch):
    monkeypatch.setattr(parity, "SIZES", ((1, 6, 9),))  # the other tests compare at all of them
    path = written(tmp_path / "m.safetensors", GeneratorConfig(blocks=4, width=32))
    sizes = {}
    for precision in ("fp32", "fp16"):
        target = tmp_path / f"{precision}{NAMED[format]}"
        assert main([str(path), "--format", format, "-o", str(target), "--precision", precision]) == 0
        sizes[precision] = sum(file.stat().st_size for file in tmp_path.glob(f"{precision}.*"))
    assert sizes["fp16"] < 0.75 * sizes["fp32"]
    mean = max(one["mean"] for one in json.loads(metadata_of(target)["srgan.difference"]))
    assert 1e-3 < mean < 0.25


def test_file_that_differs_is_not_written(tmp_path, model, monkeypatch):
    def shifted(weights: Weights) -> parity.Run:
        run = reference(weights)
        return lambda lr: np.clip(run(lr) + np.float32(0.002), 0, 1)

    monkeypatch.setattr(parity, "reference", shifted)
    with pytest.raises(WeightsError, match="too far from its source and was not written"):
        main([str(model), "-o", str(tmp_path / "out.onnx")])
    assert list(tmp_path.iterdir()) == [model]


def written_form(model: Path) -> Path:
    """An int8 form beside a model: every convolution of the body, with ranges about as wide as its values."""
    source = weights.read(model)
    names = [layer.name for layer in generator_layers(source.config) if layer.kind == "conv"]
    body = [name for name in names if name.startswith(("body.", "trunk."))]
    tensors = {f"{name}.input": np.array([-1.5, 1.5], np.float32) for name in body}
    form = int8.Int8Ranges(tensors=tensors, sha256=source.sha256, psnr_drop=0.01, metadata={})
    int8.write(int8.path_beside(model), form)
    return int8.path_beside(model)


def test_int8_computes_in_int8_and_stays_near(tmp_path, model):
    written_form(model)
    target = tmp_path / "out.xml"
    assert main([str(model), "--format", "openvino", "--precision", "int8", "-o", str(target)]) == 0
    assert target.read_text().count('type="FakeQuantize"') == 2 * 5, "input and weights of five convolutions"
    lr = images((1, 20, 12), seed=9)
    difference = np.abs(run_file(target, lr) - reference(weights.read(model))(lr)) * 255
    assert 0.05 < difference.mean() < 2


def test_int8_needs_ranges_and_openvino(tmp_path, model):
    with pytest.raises(UsageError, match="no int8 ranges"):
        main([str(model), "--format", "openvino", "--precision", "int8", "-o", str(tmp_path / "o.xml")])
    written_form(model)
    with pytest.raises(UsageError, match="fp32 and fp16"):
        main([str(model), "--format", "onnx", "--precision", "int8", "-o", str(tmp_path / "o.onnx")])


def test_nan_and_another_output_size_are_refused():
    differences = parity.compare(lambda lr: np.full_like(lr, np.nan), lambda lr: lr)
    with pytest.raises(WeightsError, match="too far"):
        parity.check(differences, "int8", "x")
    with pytest.raises(WeightsError, match="expected"):
        parity.compare(lambda lr: lr[..., :-1], lambda lr: lr)


def test_onnx_graph_has_standard_nodes():
    config = GeneratorConfig(blocks=3, width=4)
    model = formats.onnx_model(config, weights.fold_batchnorm(random_weights(config)))
    onnx.checker.check_model(model, full_check=True)
    kinds = [node.op_type for node in model.graph.node]
    convs = [layer for layer in generator_layers(config) if layer.kind == "conv"]
    assert kinds.count("Conv") == len(convs) and "BatchNormalization" not in kinds
    assert set(kinds) == {"Conv", "PRelu", "Add", "DepthToSpace", "Clip"}
    assert [i.name for i in model.graph.input] == ["lr"] and [o.name for o in model.graph.output] == ["sr"]
    free = [d.dim_param for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert free == ["batch", "", "height", "width"]


def test_only_the_format_torch_needs_pytorch(model, tmp_path):
    code = (
        "import sys; sys.modules['torch'] = None; from srgan.commands.export import main\n"
        f"for format in ('onnx', 'openvino', 'ncnn'): main([{str(model)!r}, '--format', format, '-o', {str(tmp_path)!r}])"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    names = {"small.onnx", "small.xml", "small.bin", "small-x4.param", "small-x4.bin", "small-x4.json"}
    assert {path.name for path in tmp_path.iterdir()} == {model.name, *names}


def test_ncnn_files_are_as_upscayl_and_chainner_read_them(tmp_path):
    """Names and counts; each blob is written once and read once; an odd number of halves is padded."""
    config = GeneratorConfig(blocks=2, width=1)
    made = weights.fold_batchnorm(random_weights(config))
    graph = build_graph(config, made, half=True)
    magic, counts, *lines = graph.param.splitlines()
    rows = [line.split() for line in lines]
    written = [name for row in rows for name in row[4 + int(row[2]) : 4 + int(row[2]) + int(row[3])]]
    assert magic == "7767517" and counts.split() == [str(len(rows)), str(len(written))]
    assert rows[0] == ["Input", "input.1", "0", "1", "data"] and written[-1] == "output"
    assert len(set(written)) == len(written)
    assert sorted([*(name for row in rows for name in row[4 : 4 + int(row[2])]), "output"]) == sorted(written)
    assert {row[0] for row in rows} == {"Input", "Split", "Convolution", "PReLU", "BinaryOp", "PixelShuffle"}
    assert len(graph.weights) % 4 == 0


def test_a_mixture_of_the_packaged_models(tmp_path, monkeypatch):
    monkeypatch.setattr(parity, "SIZES", ((1, 4, 6),))
    assert main(["--format", "ncnn", "--restore", "0.3", "--texture", "0.5", "-o", str(tmp_path)]) == 0
    assert metadata_of(tmp_path / "mixture-0.3-0.5-x4.param")["srgan.sha256"] == mixture(0.3, 0.5).sha256
    assert main(["--format", "ncnn", "--restore", "1", "-o", str(tmp_path / "models")]) == 0
    assert (tmp_path / "models/photo-gan-x4.bin").is_file()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "takes a model, or"),
        (["srgan", "--texture", "0"], "leave out the model"),
        (["--restore", "nan"], "restore is a number from 0 to 1, got nan"),
    ],
)
def test_a_model_or_a_mixture(words, sentence):
    with pytest.raises(UsageError, match=sentence):
        main(words)


def test_misuse_is_a_sentence(tmp_path, model):
    (tmp_path / "file").write_text("mine")
    for output in ("file", "file/deeper/o.param"):
        with pytest.raises(UsageError, match=r"file is a file; give a folder, or a name that ends in \.param"):
            main([str(model), "--format", "ncnn", "-o", str(tmp_path / output)])
    with pytest.raises(UsageError, match=r"ends in \.onnx"):
        main([str(model), "--format", "onnx", "-o", str(tmp_path / "out.pt")])
    with pytest.raises(UsageError, match="not to stdout"):
        main([str(model), "-o", "-"])
    main([str(model), "--format", "ncnn", "-o", f"{tmp_path}/v.2/"])  # a folder, not a file that ends in .2
    assert (tmp_path / "v.2" / "small-x4.param").exists()
    (tmp_path / "small-x4.bin").write_bytes(b"")
    with pytest.raises(UsageError, match=r"small-x4.bin exists; --overwrite"):
        main([str(model), "--format", "ncnn", "-o", str(tmp_path)])
    (tmp_path / "out.onnx").write_bytes(b"")
    with pytest.raises(UsageError, match="--overwrite"):
        main([str(model), "--format", "onnx", "-o", str(tmp_path / "out.onnx")])
    with pytest.raises(WeightsError, match="no model"):
        main(["nothing", "--format", "onnx"])
