"""Explanations as pictures: the place in an image that speaks for the diagnosis, laid over the image."""

from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from lesionlab._version import NOT_A_DEVICE
from lesionlab.data.images import read_image
from lesionlab.errors import UsageError
from lesionlab.files import replacing
from lesionlab.inference.model import Model
from lesionlab.inference.predictions import Prediction

PANEL_HEIGHT_PX = 448
_CAPTION_PX = 52
_STRENGTH = 0.55
_MOST_NAME_BYTES = 200  # file systems take 255
_MARK = "lesionlab overlay"  # in every file written, so that no other picture is ever replaced
_COLOURS = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], float)  # viridis


def write_overlay(prediction: Prediction, model: Model, folder: Path) -> Path:
    """Write the image beside the image with its activation map, with a caption, as PNG.

    Args:
        prediction: with `activation_maps`, of a file that still exists.
        model: that predicted; gives the crop.
        folder: exists; the file is named after the image. An older overlay of that name is replaced.

    Raises:
        UsageError: another file has that name.
        ImageError: the image cannot be read any more.
        OSError: the overlay cannot be written.

    """
    if prediction.activation_maps is None:
        raise ValueError("the prediction was made without explain=True")
    path = folder / f"{_file_name(prediction.image)}.png"
    if path.exists() and not _is_overlay(path):
        raise UsageError(f"{path} is no overlay, and is left as it is. Choose another folder with --explain.")
    height = PANEL_HEIGHT_PX
    width = round(height * model.facts.width / model.facts.height)
    pixels = read_image(prediction.file or Path(prediction.source), height, width, model.facts.crop)
    speaks = relevance(prediction.activation_maps, model.facts.taxonomy.index_of[prediction.dx])
    panels = np.concatenate([pixels, draw_map(pixels, speaks)], axis=1)  # (height, 2 * width, 3)
    page = Image.new("RGB", (2 * width, height + _CAPTION_PX), "white")
    page.paste(Image.fromarray(panels))
    draw = ImageDraw.Draw(page)
    for line, text in enumerate((_caption(prediction, model.facts.name), NOT_A_DEVICE)):
        text = text.encode("latin-1", "backslashreplace").decode("latin-1")  # Pillow's own font has no more
        draw.text((8, height + 6 + 22 * line), text, fill="black", font=ImageFont.load_default(15))
    mark = PngImagePlugin.PngInfo()
    mark.add_text("Software", _MARK)
    with replacing(path) as temporary:
        page.save(temporary, "PNG", pnginfo=mark)
    return path


def _caption(prediction: Prediction, model: str) -> str:
    """Say what the map is of; of a picture that is refused nothing but that, as the table and JSON do."""
    image = prediction.image[:40]
    if prediction.is_dermatoscopic is False:
        return f"{image}: not dermatoscopic (score {prediction.ood_score:.1f}, {model}). No answer or map is to be trusted."
    share = prediction.probabilities[prediction.dx]
    return f"{image}: {prediction.name}, {share:.0%}. Bright: speaks for it ({model})."


def _file_name(image: str) -> str:
    """Name a file after an image; of a name too long for one its beginning, and a digest that tells it from others."""
    name = image.replace("/", "_").replace("\\", "_")
    data = name.encode("utf-8", "surrogatepass")
    if len(data) <= _MOST_NAME_BYTES:
        return name
    digest = sha256(image.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{data[: _MOST_NAME_BYTES - 17].decode('utf-8', 'ignore')}-{digest}"


def _is_overlay(path: Path) -> bool:
    with path.open("rb") as file:
        return _MARK.encode() in file.read(512)


def relevance(maps: np.ndarray, index: int) -> np.ndarray:
    """How much each place speaks for a diagnosis rather than for the others: (grid h, grid w), 0 to 1.

    What a place adds to all logits alike does not change the softmax, so the mean over the diagnoses is taken off;
    what speaks against is 0.

    Args:
        maps: float (grid h, grid w, k), class activation maps of an image.
        index: of the diagnosis, in the order of the taxonomy.

    """
    positive = np.maximum(maps[..., index] - maps.mean(axis=-1), 0)
    return positive / max(float(positive.max()), 1e-9)


def draw_map(pixels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Lay values (grid h, grid w), 0 to 1, over RGB uint8 pixels (h, w, 3), bright where high; uint8 of the same shape."""
    height, width = pixels.shape[:2]
    smooth = Image.fromarray(values.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    level = np.clip(np.asarray(smooth), 0, 1)  # (h, w)
    stops = np.linspace(0, 1, len(_COLOURS))
    colours = np.stack([np.interp(level, stops, _COLOURS[:, channel]) for channel in range(3)], axis=-1)
    return np.clip((1 - _STRENGTH) * pixels + _STRENGTH * colours, 0, 255).astype(np.uint8)
