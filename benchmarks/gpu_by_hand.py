"""The opponent in `gpu.py`: a MobileNet v1 and its training step as a PyTorch user writes them by hand.

Nothing of Keras or of lesionlab's training is in it. It is given what makes it fast: images that lie in the device's memory,
channels last, autocast, a fused optimizer, one compiled graph for augmentation, network and loss.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from lesionlab.model.degrade import NOISE, NOISE_SHARE
from lesionlab.recipe import AugmentChoice, Recipe

# (filters, stride) of the 13 separable blocks; Howard et al., "MobileNets", 2017, table 1.
_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))


def make_step(
    recipe: Recipe, pixels: np.ndarray, labels: np.ndarray, *, mode: str
) -> tuple[Callable[[], torch.Tensor], int, float]:
    """Build the network and its optimizer on the device.

    Args:
        recipe: of the architecture MobileNet; mixing and images that grow are left out.
        pixels: uint8 (n, height, width, 3).
        labels: integers (n,).
        mode: of `torch.compile`.

    Returns:
        What makes one training step on the next batch and gives its loss; the network's parameters; GFLOP an image and step.

    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    on_device = torch.from_numpy(np.array(pixels)).to(device)
    targets, weights = torch.from_numpy(labels).to(device), torch.ones(len(labels), device=device)
    network = mobilenet(recipe.model.dropout).to(device, memory_format=torch.channels_last).train()
    if recipe.model.frozen_until and recipe.model.weights != "none":  # conv_pw_N_relu: the first layers and N blocks
        network[: int(recipe.model.frozen_until.split("_")[2]) + 1].requires_grad_(False).eval()
    choice = recipe.optimizer
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=choice.learning_rate, weight_decay=choice.weight_decay, fused=device == "cuda"
    )
    smoothing, reduced = recipe.loss.label_smoothing, recipe.training.precision == "bfloat16"

    def loss_of(rows: torch.Tensor) -> torch.Tensor:
        images = on_device[rows].permute(0, 3, 1, 2).float()  # (b, 3, h, w), channels last in memory
        images = augmented(images, recipe.augment) / 127.5 - 1
        with torch.autocast(device, torch.bfloat16, enabled=reduced):
            logits = network(images)
        losses = functional.cross_entropy(logits.float(), targets[rows], reduction="none", label_smoothing=smoothing)
        return (losses * weights[rows]).mean()

    compiled = torch.compile(loss_of, mode=mode)
    batches: Iterator[torch.Tensor] = iter(())

    def step() -> torch.Tensor:
        nonlocal batches
        rows = next(batches, None)
        if rows is None or len(rows) < choice.batch_size:
            batches = iter(torch.randperm(len(labels), device=device).split(choice.batch_size))
            rows = next(batches)
        torch.compiler.cudagraph_mark_step_begin()
        loss = compiled(rows)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    return step, sum(p.numel() for p in network.parameters()), _gflop(network, pixels.shape[1:3], device)


def mobilenet(dropout: float, classes: int = 7) -> nn.Sequential:
    """MobileNet v1, width 1: its first convolution, 13 separable blocks and a head of seven."""

    def convolution(inputs: int, outputs: int, size: int, stride: int, groups: int = 1) -> list[nn.Module]:
        plain = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
        return [plain, nn.BatchNorm2d(outputs, eps=1e-3), nn.ReLU6(inplace=True)]

    layers, inputs = [nn.Sequential(*convolution(3, 32, 3, 2))], 32
    for outputs, stride in _BLOCKS:
        depthwise = convolution(inputs, inputs, 3, stride, groups=inputs)
        layers.append(nn.Sequential(*depthwise, *convolution(inputs, outputs, 1, 1)))
        inputs = outputs
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(inputs, classes)
    return nn.Sequential(*layers, *head)


def augmented(images: torch.Tensor, choice: AugmentChoice) -> torch.Tensor:
    """Flip, turn, zoom and shift in one resampling, change colours by one matrix, add noise.

    As `lesionlab.model.augment` does, so that both sides have the same work. Float (b, 3, h, w), 0 to 255, in and out.
    """
    count, device = len(images), images.device

    def drawn(reach: float) -> torch.Tensor:
        return (torch.rand(count, device=device) * 2 - 1) * reach

    def signs() -> torch.Tensor:
        return torch.where(drawn(1) > 0, 1.0, -1.0) if choice.flips else torch.ones(count, device=device)

    angle, scale = drawn(math.radians(choice.rotation_degrees)), 1 + drawn(choice.zoom)
    flip_x, flip_y = signs(), signs()
    across = torch.stack([flip_x * scale * angle.cos(), -scale * angle.sin(), drawn(2 * choice.shift)], 1)
    down = torch.stack([scale * angle.sin(), flip_y * scale * angle.cos(), drawn(2 * choice.shift)], 1)
    grid = functional.affine_grid(torch.stack([across, down], 1), list(images.shape), align_corners=False)
    images = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    if choice.colour:
        images = _recoloured(images, choice.colour)
    if choice.degrade:
        noisy = (torch.rand(count, 1, 1, 1, device=device) < NOISE_SHARE * choice.degrade).float()
        strength = noisy * torch.rand(count, 1, 1, 1, device=device) * 255 * NOISE
        images = (images + strength * torch.randn_like(images)).clamp(0, 255)
    return images


def _recoloured(images: torch.Tensor, reach: float) -> torch.Tensor:
    count, device = len(images), images.device

    def factor(channels: int, low: float, high: float) -> torch.Tensor:
        is_changed = (torch.rand(count, 1, device=device) < 0.5).float()
        return ((low + (high - low) * torch.rand(count, channels, device=device)) * reach * is_changed).exp()

    light, contrast = factor(1, -2.0, 1.2), factor(1, -3.0, 1.0)
    saturation, balance = factor(1, -2.0, 1.0)[:, :, None], factor(3, -0.6, 0.6)
    colours = saturation * torch.eye(3, device=device) + (1 - saturation) / 3  # (b, 3, 3)
    colours = colours * (light * balance)[:, :, None]  # rows give the new channels
    mean = images.mean((2, 3))  # (b, 3)
    offset = torch.einsum("bij,bj->bi", colours, mean * (1 - contrast))
    changed = torch.einsum("bij,bjhw->bihw", colours * contrast[:, :, None], images)
    return (changed + offset[:, :, None, None]).clamp(0, 255)


def _gflop(network: nn.Module, size: tuple[int, ...], device: str) -> float:
    """GFLOP of an image and step in convolutions and products: forward, and twice that backward where trained."""
    total = 0

    def add(module: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal total
        total += 2 * (3 if module.weight.requires_grad else 1) * module.weight.numel() * math.prod(output.shape[2:])

    hooks = [m.register_forward_hook(add) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    states = [(m, m.training) for m in network.modules()]
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, *size, device=device))
    for module, is_training in states:
        module.training = is_training
    for hook in hooks:
        hook.remove()
    return total / 1e9
