"""Images beside tables with columns of HAM10000 or ISIC: metadata with `image_id` and `dx`, or one-hot tables of truth."""

from pathlib import Path

from lesionlab.data.image_formats import SUFFIXES
from lesionlab.data.layouts import archive, derm7pt, milk10k, published
from lesionlab.data.layouts.isic import holds_predictions, is_one_hot, layout_name, read_isic, taxonomy_of_columns
from lesionlab.data.layouts.metadata import ALIASES, OTHER_NAMES, REQUIRED, with_own_names
from lesionlab.data.layouts.reading import NoDiagnoses, Options, Reading
from lesionlab.data.layouts.rows import Rules, read_rows
from lesionlab.data.layouts.scan import Scan, one_of
from lesionlab.data.layouts.tables import read_table
from lesionlab.data.layouts.written_diagnoses import names_a_diagnosis, taxonomy_of
from lesionlab.errors import UsageError
from lesionlab.taxonomy import Taxonomy

_ADVICE_TABLES = "Keep the one with the columns image_id, lesion_id, dx."
# Columns by which each layout is told, for the message about a folder that none reads.
_NEEDS = {
    "HAM10000": frozenset(REQUIRED),
    "MILK10k": milk10k.NEEDS,
    "derm7pt": derm7pt.NEEDS,
    "ISIC 2024": archive.ISIC_2024_NEEDS,
    "the ISIC archive": archive.ARCHIVE_NEEDS,
    **{one.layout: one.needs for one in published.PUBLISHED},
}


def one_hot_tables(scan: Scan, taxonomy: Taxonomy | None) -> tuple[list[Path], list[Path]]:
    """Part ISIC's tables of ground truth from those of predictions, which look like them."""
    one_hot = [path for path, (header, _) in scan.tables.items() if is_one_hot(header, taxonomy)]
    predictions = [path for path in one_hot if holds_predictions(*scan.tables[path])]
    return [path for path in one_hot if path not in predictions], predictions


def read_truths(scan: Scan, truths: list[Path], options: Options) -> Reading | None:
    """Read one-hot tables of ground truth; None where there are none."""
    if not truths:
        return None
    require_images(scan, truths[0])
    taxonomy = options.taxonomy or taxonomy_of_columns(scan.tables[truths[0]][0])
    if taxonomy is None:
        raise UsageError(f"{truths[0]} is no table of ground truth: it changed while it was read.")
    return Reading(layout_name(truths), read_isic(scan, truths, taxonomy), taxonomy, truths[0])


def read_metadata(scan: Scan, truths: list[Path], options: Options) -> Reading | None:
    """Read the folder's one table of metadata; None where other files say the diagnoses.

    Raises:
        NoDiagnoses: tables say which lesions images show, and none says of what diagnosis.
        UsageError: the table is at fault, or there are several.

    """
    try:
        return _read_metadata(scan, truths, options)
    except UsageError as error:
        if _are_of_lesions_alone(scan):
            raise NoDiagnoses(str(error)) from error
        raise


def _are_of_lesions_alone(scan: Scan) -> bool:
    headers = [{ALIASES.get(name, name) for name in header} for header, _ in scan.tables.values()]
    has_dx = any(names & {"dx", *OTHER_NAMES["dx"]} for names in headers)
    return not has_dx and any({"image_id", "lesion_id"} <= names for names in headers)


def _read_metadata(scan: Scan, truths: list[Path], options: Options) -> Reading | None:
    metadata = _pick_metadata(scan, truths, options.taxonomy)
    if metadata is None:
        return None
    require_images(scan, metadata)
    scan.take([metadata])
    try:
        table = with_own_names(read_table(metadata), REQUIRED, metadata)
    except UsageError as error:
        raise UsageError(f"{error}{_nearest_layout(scan.tables[metadata][0])}") from error
    taxonomy = options.taxonomy or taxonomy_of(set(table["dx"]))
    rows = read_rows(table, metadata, taxonomy, Rules(options.image_types))
    return Reading(_name_layout(scan, metadata), rows, taxonomy, metadata)


def _pick_metadata(scan: Scan, truths: list[Path], taxonomy: Taxonomy | None) -> Path | None:
    """Pick the one table of metadata by its name and columns; None where other files say the diagnoses."""
    others = [
        path
        for path, (header, _) in scan.tables.items()
        if not is_one_hot(header, taxonomy) and "lesiongroupings" not in path.name.lower()
    ]
    headers = {path: {ALIASES.get(name, name) for name in scan.tables[path][0]} for path in others}
    complete = [path for path in others if {"image_id", "dx"} <= headers[path]]
    named = [path for path in others if "metadata" in path.name.lower()]
    famous = [path for path in named if path.stem.lower() == "ham10000_metadata"]
    for candidates in (famous, [path for path in named if path in complete], [] if truths else named, complete):
        if candidates:
            return one_of(scan.folder, candidates, _ADVICE_TABLES)
    in_folders = any(names_a_diagnosis(name, taxonomy) for name in {path.parent.name for path in scan.images.values()})
    if truths or in_folders or scan.archives or not others:
        return None
    plain = [path for path in others if path.suffix.lower() != ".txt"]  # a README is no table
    return one_of(scan.folder, plain, _ADVICE_TABLES) if plain else None


def _nearest_layout(header: list[str]) -> str:
    """Name the layout of which a header has most columns, and what it lacks; "" where it has none."""
    shares = {name: len(needs & set(header)) / len(needs) for name, needs in _NEEDS.items()}
    name = max(shares, key=lambda one: shares[one])
    if name == "HAM10000" or shares[name] < 0.5:
        return ""
    return (
        f" The nearest layout is that of {name}, which is told by {', '.join(sorted(_NEEDS[name]))}; missing are "
        + ", ".join(sorted(_NEEDS[name] - set(header)))
        + "."
    )


def require_images(scan: Scan, table: Path) -> None:
    """Raise UsageError where a folder has a table but no images."""
    if not scan.images and not scan.hdf5:
        archives = sorted(path.name for path in scan.folder.glob("*.zip"))
        advice = f"unpack {', '.join(archives)}" if archives else "put the images beside it"
        raise UsageError(f"{scan.folder} has no images ({', '.join(SUFFIXES)}) for {table.name}: {advice}.")


def _name_layout(scan: Scan, metadata: Path) -> str:
    if any(part.lower() == "ham10000_images_part_1" for path in scan.images.values() for part in path.parts):
        return "Harvard Dataverse" if metadata.suffix.lower() in ("", ".tab") else "Kaggle"
    return "Harvard Dataverse" if metadata.suffix.lower() in ("", ".tab") else "images and metadata"
