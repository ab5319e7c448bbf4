"""Small modules in the layouts of other projects, for tests: PyTorch decides what their tensors do.

Each gives the picture that its project would save, as -1..1, from an LR picture in 0..1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

IMAGENET_MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
IMAGENET_DEVIATION = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


def conv(inputs: int, outputs: int, kernel: int, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)


class Residual(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class Tree(nn.Module):
    """Modules put in by dotted names, and a forward pass over them."""

    def __init__(self, forward: Callable[[Tree, Tensor], Tensor], **modules: nn.Module) -> None:
        super().__init__()
        self.compute = forward
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        return self.compute(self, x)


def lornatang(width: int = 8, blocks: int = 2, stages: int = 2, prefix: str = "conv", slopes: int = 1) -> Tree:
    def block() -> Tree:
        first, second = conv(width, width, 3, False), conv(width, width, 3, False)
        parts = (first, nn.BatchNorm2d(width), nn.PReLU(slopes), second, nn.BatchNorm2d(width))
        return Tree(lambda self, x: x + self.rcb(x), rcb=nn.Sequential(*parts))

    def stage() -> Tree:
        parts = (conv(width, 4 * width, 3), nn.PixelShuffle(2), nn.PReLU(slopes))
        return Tree(lambda self, x: self.upsample_block(x), upsample_block=nn.Sequential(*parts))

    def forward(self: Tree, x: Tensor) -> Tensor:
        one, two, three = (getattr(self, f"{prefix}{i}") for i in (1, 2, 3))
        head = one(x)
        picture = three(self.upsampling(head + two(self.trunk(head))))
        return 2 * picture.clamp(0, 1) - 1

    return Tree(
        forward,
        **{
            f"{prefix}1": nn.Sequential(conv(3, width, 9), nn.PReLU(slopes)),
            "trunk": nn.Sequential(*(block() for _ in range(blocks))),
            f"{prefix}2": nn.Sequential(conv(width, width, 3, False), nn.BatchNorm2d(width)),
            "upsampling": nn.Sequential(*(stage() for _ in range(stages))),
            f"{prefix}3": conv(width, 3, 9),
        },
    )


def leftthomas(width: int = 8, blocks: int = 3, stages: int = 2) -> Tree:
    def block() -> Tree:
        return Tree(
            lambda m, x: x + m.bn2(m.conv2(m.prelu(m.bn1(m.conv1(x))))),
            conv1=conv(width, width, 3),
            bn1=nn.BatchNorm2d(width),
            prelu=nn.PReLU(),
            conv2=conv(width, width, 3),
            bn2=nn.BatchNorm2d(width),
        )

    def stage() -> Tree:
        return Tree(
            lambda m, x: m.prelu(m.shuffle(m.conv(x))),
            conv=conv(width, 4 * width, 3),
            shuffle=nn.PixelShuffle(2),
            prelu=nn.PReLU(),
        )

    def forward(self: Tree, x: Tensor) -> Tensor:
        head = x = self.block1(x)
        for i in range(blocks + 1):
            x = getattr(self, f"block{i + 2}")(x)
        unit = (torch.tanh(getattr(self, f"block{blocks + 3}")(head + x)) + 1) / 2
        return 2 * unit - 1

    parts = {f"block{i + 2}": block() for i in range(blocks)}
    parts["block1"] = nn.Sequential(conv(3, width, 9), nn.PReLU())
    parts[f"block{blocks + 2}"] = nn.Sequential(conv(width, width, 3), nn.BatchNorm2d(width))
    parts[f"block{blocks + 3}"] = nn.Sequential(*(stage() for _ in range(stages)), conv(width, 3, 9))
    return Tree(forward, **parts)


def aladdinpersson(width: int = 8, blocks: int = 2) -> Tree:
    def unit(inputs: int, kernel: int, norm: bool, act: bool) -> Tree:
        def forward(m: Tree, x: Tensor) -> Tensor:
            y = m.bn(m.cnn(x))
            return m.act(y) if act else y

        bn = nn.BatchNorm2d(width) if norm else nn.Identity()
        return Tree(forward, cnn=conv(inputs, width, kernel, not norm), bn=bn, act=nn.PReLU(width))

    def block() -> Tree:
        return Tree(
            lambda m, x: x + m.block2(m.block1(x)),
            block1=unit(width, 3, True, True),
            block2=unit(width, 3, True, False),
        )

    def stage() -> Tree:
        return Tree(
            lambda m, x: m.act(m.ps(m.conv(x))),
            conv=conv(width, 4 * width, 3),
            ps=nn.PixelShuffle(2),
            act=nn.PReLU(width),
        )

    def forward(m: Tree, x: Tensor) -> Tensor:
        head = m.initial(x)
        return torch.tanh(m.final(m.upsamples(head + m.convblock(m.residuals(head)))))

    return Tree(
        forward,
        initial=unit(3, 9, False, True),
        residuals=nn.Sequential(*(block() for _ in range(blocks))),
        convblock=unit(width, 3, True, False),
        upsamples=nn.Sequential(stage(), stage()),
        final=conv(width, 3, 9),
    )


def sgrvinod(width: int = 8, blocks: int = 2, imagenet: bool = True, wrapped: bool = False) -> nn.Module:
    def unit(*parts: nn.Module) -> Tree:
        return Tree(lambda m, x: m.conv_block(x), conv_block=nn.Sequential(*parts))

    def block() -> Tree:
        one = unit(conv(width, width, 3), nn.BatchNorm2d(width), nn.PReLU())
        two = unit(conv(width, width, 3), nn.BatchNorm2d(width))
        return Tree(lambda m, x: x + m.conv_block2(m.conv_block1(x)), conv_block1=one, conv_block2=two)

    def stage() -> Tree:
        return Tree(
            lambda m, x: m.prelu(m.pixel_shuffle(m.conv(x))),
            conv=conv(width, 4 * width, 3),
            pixel_shuffle=nn.PixelShuffle(2),
            prelu=nn.PReLU(),
        )

    def forward(m: Tree, x: Tensor) -> Tensor:
        x = (x - IMAGENET_MEAN) / IMAGENET_DEVIATION if imagenet else x
        head = m.conv_block1(x)
        return m.conv_block3(m.subpixel_convolutional_blocks(head + m.conv_block2(m.residual_blocks(head))))

    net = Tree(
        forward,
        conv_block1=unit(conv(3, width, 9), nn.PReLU()),
        residual_blocks=nn.Sequential(*(block() for _ in range(blocks))),
        conv_block2=unit(conv(width, width, 3), nn.BatchNorm2d(width)),
        subpixel_convolutional_blocks=nn.Sequential(stage(), stage()),
        conv_block3=unit(conv(width, 3, 9), nn.Tanh()),
    )
    return Tree(lambda m, x: m.net(x), net=net) if wrapped else net


def eriklindernoren(width: int = 8, blocks: int = 2, relu: bool = False) -> Tree:
    epsilon = 1e-5 if relu else 0.8

    def act() -> nn.Module:
        return nn.ReLU() if relu else nn.PReLU()

    def block() -> Tree:
        parts = (conv(width, width, 3), nn.BatchNorm2d(width, epsilon), act(), conv(width, width, 3))
        residual = nn.Sequential(*parts, nn.BatchNorm2d(width, epsilon))
        return Tree(lambda m, x: x + m.conv_block(x), conv_block=residual)

    def forward(m: Tree, x: Tensor) -> Tensor:
        head = m.conv1(x)
        return m.conv3(m.upsampling(head + m.conv2(m.res_blocks(head))))

    up: list[nn.Module] = []
    for _ in range(2):
        up += [conv(width, 4 * width, 3), nn.BatchNorm2d(4 * width), nn.PixelShuffle(2), act()]
    return Tree(
        forward,
        conv1=nn.Sequential(conv(3, width, 9), act()),
        res_blocks=nn.Sequential(*(block() for _ in range(blocks))),
        conv2=nn.Sequential(conv(width, width, 3), nn.BatchNorm2d(width, epsilon)),
        upsampling=nn.Sequential(*up),
        conv3=nn.Sequential(conv(width, 3, 9), nn.Tanh()),
    )


def mseitzer(width: int = 8, blocks: int = 2, wide: int = 8) -> Tree:
    def padded(inputs: int, outputs: int, kernel: int, bias: bool) -> tuple[nn.Module, nn.Module]:
        return nn.ZeroPad2d(kernel // 2), nn.Conv2d(inputs, outputs, kernel, bias=bias)

    def block() -> Tree:
        first = (*padded(width, width, 3, False), nn.BatchNorm2d(width), nn.PReLU(width))
        second = (*padded(width, width, 3, False), nn.BatchNorm2d(width))
        return Tree(lambda m, x: x + m.block(x), block=nn.Sequential(*first, *second))

    def forward(m: Tree, x: Tensor) -> Tensor:
        head = m.initial_conv(x)
        return m.final_conv(m.upsample(head + m.body(head)))

    up: list[nn.Module] = []
    for inputs in (width, wide):
        up += [*padded(inputs, 4 * wide, 3, True), nn.PixelShuffle(2), nn.PReLU(wide)]
    trunk = (*padded(width, width, 3, False), nn.BatchNorm2d(width))
    return Tree(
        forward,
        initial_conv=nn.Sequential(*padded(3, width, 9, True), nn.PReLU(width)),
        body=nn.Sequential(*(block() for _ in range(blocks)), *trunk),
        upsample=nn.Sequential(*up),
        final_conv=nn.Sequential(*padded(wide, 3, 9, True), nn.Tanh()),
    )


def twtygqyy(width: int = 8, blocks: int = 2) -> Tree:
    relu = nn.LeakyReLU(0.2)

    def block() -> Tree:
        return Tree(
            lambda m, x: x + m.bn2(m.conv2(relu(m.bn1(m.conv1(x))))),
            conv1=conv(width, width, 3, False),
            bn1=nn.BatchNorm2d(width),
            conv2=conv(width, width, 3, False),
            bn2=nn.BatchNorm2d(width),
        )

    def forward(m: Tree, x: Tensor) -> Tensor:
        head = relu(m.conv_input(x))
        body = m.bn_mid(m.conv_mid(m.residual(head)))
        return 2 * m.conv_output(m.upscale4x(head + body)) - 1

    stages: list[nn.Module] = []
    for _ in range(2):
        stages += [conv(width, 4 * width, 3, False), nn.PixelShuffle(2), relu]
    return Tree(
        forward,
        conv_input=conv(3, width, 9, False),
        residual=nn.Sequential(*(block() for _ in range(blocks))),
        conv_mid=conv(width, width, 3, False),
        bn_mid=nn.BatchNorm2d(width),
        upscale4x=nn.Sequential(*stages),
        conv_output=conv(width, 3, 9, False),
    )


def trained(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module in evaluation mode with every tensor random, slopes and norm statistics too."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if not tensor.is_floating_point():
            continue
        if tensor.ndim == 4:
            tensor.normal_(0, tensor[0].numel() ** -0.5, generator=generator)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=generator)
        else:
            tensor.uniform_(-0.4, 0.6, generator=generator)
    return module.eval()
