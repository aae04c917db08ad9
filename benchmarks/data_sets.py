"""How fast data sets are read: `python benchmarks/data_sets.py stored|rows [--images N] [--folder DIR]`.

`stored`: `check` and the pixel cache on ISIC 2024's layout, N small JPEGs in one HDF5 file against the same JPEGs as files, each
in a process of its own, in turn: seconds on the clock and of the processor, and the highest memory use. `rows`: reading the
metadata of ISIC 2019 (25,331 rows) and of HAM10000 (10,015), and `check` of both layouts with a small JPEG for each row.
"""

import argparse
import io
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

ISIC_2019 = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")
HAM10000 = ("mel", "nv", "bcc", "akiec", "bkl", "df", "vasc")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("stored", "rows", "one"))
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--until", choices=("metadata", "cache", "check"), default="check", help="how far to go")
    options = parser.parse_args()
    if options.what == "one":
        print(json.dumps(measure(options.folder, options.until)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as made:
        {"stored": compare_stored, "rows": compare_rows}[options.what](
            Path(made), options.images, options.repeats, options.until
        )


def compare_stored(work: Path, number: int, repeats: int, until: str) -> None:
    """Compare an HDF5 file of JPEGs with the same JPEGs as files."""
    import h5py

    for name in ("hdf5", "files"):
        (work / name).mkdir()
        write_isic_2024(work / name / "train-metadata.csv", number)
    (work / "files" / "image").mkdir()
    with h5py.File(work / "hdf5" / "train-image.hdf5", "w") as file:
        for n in range(number):
            data = jpeg(n)
            file.create_dataset(f"ISIC_{n:07}", data=np.void(data))
            (work / "files" / "image" / f"ISIC_{n:07}.jpg").write_bytes(data)
    for layout in ("hdf5", "files") * repeats:
        say(layout, in_its_own_process(work / layout, until))


def compare_rows(work: Path, number: int, repeats: int, until: str) -> None:
    """Compare ISIC 2019's rows with HAM10000's."""
    share = number / 20_000
    sizes = {"isic2019": round(25_331 * share), "ham10000": round(10_015 * share)}
    (work / "isic2019" / "images").mkdir(parents=True)
    (work / "ham10000" / "images").mkdir(parents=True)
    write_isic_2019(work / "isic2019", sizes["isic2019"])
    write_ham10000(work / "ham10000", sizes["ham10000"])
    for layout, size in sizes.items():
        for n in range(size):
            (work / layout / "images" / f"ISIC_{n:07}.jpg").write_bytes(jpeg(n))
    for layout in ("isic2019", "ham10000") * repeats:
        for step in dict.fromkeys(("metadata", until)):
            found = in_its_own_process(work / layout, step)
            found |= {"cpu_us_a_row": round(1e6 * found["cpu_s"] / sizes[layout], 1)}
            say(f"{layout} {step}", found)


def in_its_own_process(folder: Path, until: str) -> dict[str, float]:
    """Measure a folder in a process of its own, so that its memory is its own."""
    command = [sys.executable, __file__, "one", "--folder", str(folder), "--until", until]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(folder: Path, until: str) -> dict[str, float]:
    """Seconds to read the metadata, to fill the pixel cache, and to check in all; the highest memory use in MB."""
    from lesionlab.data.layouts.recognise import read_collection
    from lesionlab.data.pixels import decode_images
    from lesionlab.lifecycle.prepare import LOOK_PX, inspect

    cache = Path(tempfile.mkdtemp(dir=folder.parent))
    import os

    os.environ["LESIONLAB_CACHE"] = str(cache)
    start, used = time.perf_counter(), time.process_time()
    collection = read_collection(folder)
    read = time.perf_counter() - start
    decoded = checked = for_cache = 0.0
    if until != "metadata":
        images = list(zip(collection.table["image_id"], collection.table["path"], strict=True))
        decode_images(images, height=LOOK_PX, width=LOOK_PX, crop="centre", cache_dir=cache)
        decoded = time.perf_counter() - start - read
        for_cache = time.process_time() - used
        if until == "check":
            inspect(collection)
            checked = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    shutil.rmtree(cache)
    cpu = time.process_time() - used
    seconds = {"read_s": read, "cache_s": decoded, "check_s": checked, "cpu_to_cache_s": for_cache, "cpu_s": cpu}
    return {name: round(value, 2) for name, value in seconds.items()} | {"peak_mb": round(peak)}


def say(name: str, found: dict[str, float]) -> None:
    """Print a line of figures."""
    print(f"{name:20}", "  ".join(f"{key} {value:,}" for key, value in found.items()), flush=True)


def jpeg(n: int) -> bytes:
    """A blurred spot on skin, 128 px, of its own shape and place."""
    rng = np.random.default_rng(n)
    rough = Image.fromarray(rng.integers(0, 255, (9, 9, 3), np.uint8)).resize((128, 128), Image.Resampling.BICUBIC)
    data = io.BytesIO()
    Image.blend(rough, Image.new("RGB", (128, 128), (200, 150, 130)), 0.5).save(data, "JPEG", quality=85)
    return data.getvalue()


def write_isic_2024(path: Path, number: int) -> None:
    """Write ISIC 2024's metadata."""
    header = "isic_id,target,patient_id,age_approx,sex,anatom_site_general,image_type,tbp_tile_type,lesion_id,iddx_full,iddx_1"
    rows = (
        f"ISIC_{n:07},{int(n % 50 == 0)},IP_{n % 1000:04},60.0,male,torso,TBP tile: close-up,3D: XP,,Benign,Benign"
        for n in range(number)
    )
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def write_isic_2019(folder: Path, number: int) -> None:
    """Write ISIC 2019's truth and metadata."""
    marks = [",".join("1.0" if at == n % 9 else "0.0" for at in range(9)) for n in range(number)]
    truth = [f"ISIC_{n:07},{mark}" for n, mark in enumerate(marks)]
    write(folder / "ISIC_2019_Training_GroundTruth.csv", f"image,{','.join(ISIC_2019)}", truth)
    rows = [f"ISIC_{n:07},55.0,anterior torso,{f'BCN_{n:07}' if n % 12 else ''},female" for n in range(number)]
    write(folder / "ISIC_2019_Training_Metadata.csv", "image,age_approx,anatom_site_general,lesion_id,sex", rows)


def write_ham10000(folder: Path, number: int) -> None:
    """Write HAM10000's metadata."""
    rows = [f"HAM_{n:07},ISIC_{n:07},{HAM10000[n % 7]},histo,45.0,male,back,rosendahl" for n in range(number)]
    write(folder / "HAM10000_metadata.csv", "lesion_id,image_id,dx,dx_type,age,sex,localization,dataset", rows)


def write(path: Path, header: str, rows: list[str]) -> None:
    """Write a table."""
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
