"""What is no dermatoscopic image: photographs that Python packages ship, and generated pages, noise, gradients and frames.

The images come in two sets with no photograph in common: `development`, that the score was chosen on, and `final`, that its
figures are taken on. Generated kinds differ by their seed, and blurred frames and composed photographs by the lesions used.
"""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SIDE = 256
EACH = 30
SHIPPED = {
    "development": {
        "photograph": [
            "skimage/data/astronaut.png",
            "skimage/data/coffee.png",
            "skimage/data/rocket.jpg",
            "skimage/data/motorcycle_left.png",
            "skimage/data/camera.png",
            "sklearn/datasets/images/china.jpg",
        ],
        "texture": ["skimage/data/brick.png", "skimage/data/grass.png", "skimage/data/coins.png"],
        "other medical image": ["skimage/data/ihc.png", "skimage/data/cell.png"],
        "document": ["skimage/data/page.png"],
    },
    "final": {
        "photograph": [
            "skimage/data/chelsea.png",
            "skimage/data/hubble_deep_field.jpg",
            "skimage/data/clock_motion.png",
            "sklearn/datasets/images/flower.jpg",
            "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
            "matplotlib/mpl-data/sample_data/Minduka_Present_Blue_Pack.png",
        ],
        "texture": ["skimage/data/gravel.png", "skimage/data/moon.png"],
        "other medical image": ["skimage/data/retina.jpg", "skimage/data/microaneurysms.png"],
        "document": ["skimage/data/text.png"],
    },
}
FACES = {"development": slice(0, 50), "final": slice(50, 100)}  # of skimage's lfw_subset, the first hundred are faces
SEEDS = {"development": 1, "final": 2}
_SKIN = ((236, 188, 166), (224, 172, 140), (198, 134, 98), (141, 85, 56), (88, 56, 40), (244, 208, 190))
_WORDS = "patient lesion left arm follow up in three months no change since last visit signed date page of the report".split()

Kinds = dict[str, list[np.ndarray]]


def negatives(part: str, lesions: Sequence[np.ndarray], folders: Sequence[Path] = ()) -> Kinds:
    """Gather what is no dermatoscopic image: by kind, uint8 images (h, w, 3) of various sizes.

    Args:
        part: `development` or `final`.
        lesions: dermatoscopic images uint8 (h, w, 3), for blurred frames and composed photographs; each is used once.
        folders: of further photographs; only `final` takes them.

    """
    rng = np.random.default_rng(SEEDS[part])
    kinds: Kinds = {kind: list(_crops(paths)) for kind, paths in SHIPPED[part].items()}
    kinds["face"] = [_resized(face) for face in _faces()[FACES[part]]]
    kinds["document"] += [_page(rng) for _ in range(EACH)]
    kinds["noise"] = [_noise(rng, index) for index in range(EACH)]
    kinds["gradient"] = [_gradient(rng) for _ in range(EACH)]
    kinds["blank"] = [_blank(rng, index) for index in range(EACH)]
    kinds["shapes"] = [_shapes(rng) for _ in range(EACH)]
    blurred, pasted = lesions[:EACH], lesions[EACH : 2 * EACH]
    kinds["blurred frame"] = [_blurred(image, rng) for image in blurred]
    kinds["mole in a photograph"] = [_composed(image, kinds["photograph"], rng) for image in pasted]
    kinds["mole on bare skin"] = [_composed(image, [_skin(rng)], rng) for image in pasted]
    for folder in folders if part == "final" else ():
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
        kinds.setdefault(f"from {folder.name}", []).extend(_opened(path) for path in files)
    return kinds


def _shipped(path: str) -> Path:
    package, _, rest = path.partition("/")
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise SystemExit(f"{path} is needed: pip install scikit-image scikit-learn matplotlib")
    return Path(found.origin).parent / rest


def _opened(path: Path) -> np.ndarray:
    with Image.open(path) as file:
        image = file.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        return np.asarray(Image.alpha_composite(paper, image).convert("RGB"))


def _crops(paths: Sequence[str]) -> Iterator[np.ndarray]:
    """Give each picture whole, and five parts of it of 60 % of its sides."""
    for path in paths:
        pixels = _opened(_shipped(path))
        yield pixels
        height, width = pixels.shape[:2]
        h, w = int(height * 0.6), int(width * 0.6)
        for y, x in (
            (0, 0),
            (0, width - w),
            (height - h, 0),
            (height - h, width - w),
            ((height - h) // 2, (width - w) // 2),
        ):
            yield np.ascontiguousarray(pixels[y : y + h, x : x + w])


def _faces() -> np.ndarray:
    return np.load(_shipped("skimage/data/lfw_subset.npy"))  # float (200, 25, 25), 0 to 1


def _resized(face: np.ndarray) -> np.ndarray:
    grey = (255 * face).clip(0, 255).astype(np.uint8)
    return np.asarray(Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BICUBIC).convert("RGB"))


def _page(rng: np.random.Generator) -> np.ndarray:
    paper, ink = int(rng.integers(215, 256)), int(rng.integers(0, 90))
    image = Image.new("RGB", (SIDE, SIDE), (paper, paper, max(0, paper - int(rng.integers(0, 30)))))
    draw, size = ImageDraw.Draw(image), int(rng.integers(7, 22))
    font = ImageFont.load_default(size)
    for y in range(size, SIDE - size, int(size * rng.uniform(1.3, 2.2))):
        if rng.random() < 0.85:
            draw.text((size, y), " ".join(rng.choice(_WORDS, 30))[: int(rng.integers(10, 60))], (ink, ink, ink), font)
    return np.asarray(image)


def _noise(rng: np.random.Generator, index: int) -> np.ndarray:
    """Noise, uniform or normal, in colour or grey, of grain 1 to 32 px."""
    grain = 2 ** (index % 6)
    shape = (SIDE // grain, SIDE // grain, 3 if index % 2 else 1)
    values = rng.uniform(0, 255, shape) if index % 3 else rng.normal(rng.uniform(60, 200), rng.uniform(15, 70), shape)
    small = np.broadcast_to(values.clip(0, 255).astype(np.uint8), (*shape[:2], 3))
    return np.asarray(Image.fromarray(np.ascontiguousarray(small)).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def _gradient(rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    along = (np.cos(angle) * x + np.sin(angle) * y) / 2 + 0.5 if rng.random() < 0.5 else np.hypot(x, y) / np.sqrt(2)
    first, last = rng.uniform(0, 255, (2, 3))
    return (first + along[..., None] * (last - first)).clip(0, 255).astype(np.uint8)


def _blank(rng: np.random.Generator, index: int) -> np.ndarray:
    """One colour, every second one skin's, with the faint noise of a sensor."""
    colours = [(0, 0, 0), (255, 255, 255), (128, 128, 128), *(tuple(rng.integers(0, 256, 3)) for _ in range(3))]
    colour = _SKIN[index // 2 % 6] if index % 2 else colours[index // 2 % 6]
    return (np.array(colour) + rng.normal(0, index % 4, (SIDE, SIDE, 3))).clip(0, 255).astype(np.uint8)


def _shapes(rng: np.random.Generator) -> np.ndarray:
    """Flat coloured shapes, as in a drawing, a logo or a chart."""
    image = Image.new("RGB", (SIDE, SIDE), tuple(rng.integers(0, 256, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(2, 9))):
        (left, right), (top, bottom) = np.sort(rng.integers(0, SIDE, (2, 2)), axis=1).tolist()
        shape: Callable = draw.rectangle if rng.random() < 0.5 else draw.ellipse
        shape((left, top, right + 1, bottom + 1), fill=tuple(rng.integers(0, 256, 3).tolist()))
    return np.asarray(image)


def _blurred(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A frame out of focus: Gaussian blur of 4 to 10 % of the image's side."""
    radius = rng.uniform(0.04, 0.1) * min(pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def _skin(rng: np.random.Generator) -> np.ndarray:
    """A limb before a background: skin in one colour with a light from the side, no dermatoscope."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    across = np.cos(angle := rng.uniform(0, np.pi)) * x + np.sin(angle) * y
    shade = (1 - rng.uniform(0.2, 0.5) * across**2)[..., None] * np.array(_SKIN[rng.integers(len(_SKIN))])
    wide = rng.uniform(0.55, 0.9)
    picture = np.where((np.abs(across) < wide)[..., None], shade, rng.uniform(0, 255, 3))
    return (picture + rng.normal(0, 4, picture.shape)).clip(0, 255).astype(np.uint8)


def _composed(lesion: np.ndarray, scenes: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """A clinical photograph's like: the middle of a lesion's image, 8 to 18 % as wide, blended into a scene."""
    scene = np.asarray(Image.fromarray(scenes[int(rng.integers(len(scenes)))]).resize((SIDE, SIDE))).astype(float)
    size = int(rng.uniform(0.08, 0.18) * SIDE)
    small = np.asarray(Image.fromarray(lesion).resize((size, size), Image.Resampling.LANCZOS)).astype(float)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    share = np.clip(2.5 * (1 - np.hypot(x, y)), 0, 1)[..., None]  # (size, size, 1): all lesion inside, fading out
    top, left = rng.integers(SIDE // 4, SIDE // 2, 2)
    place = scene[top : top + size, left : left + size]
    scene[top : top + size, left : left + size] = share * small + (1 - share) * place
    return scene.clip(0, 255).astype(np.uint8)
