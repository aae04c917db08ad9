"""Steps 7 and 10: who is trained on, who is validated on, who is tested on; and the proof that none is on two sides.

A split is made on groups: the images of one lesion, joined with those of any lesion that shares a near-duplicate or a
patient with it. The exceptions are kept to be compared with, and say so where they leak: `kaggle`, the notebook's split of
images, and `official`, the parts that a data set was published in.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from lesionlab.data.groups import groups_by_dx, groups_with, part_size, shuffled
from lesionlab.data.layouts.metadata import PART, PATIENT, UNKNOWN, check_image_id, with_own_names
from lesionlab.data.layouts.tables import ROW, read_table
from lesionlab.data.split_proof import prove
from lesionlab.errors import LesionlabError, UsageError, nearest
from lesionlab.recipe import SplitChoice
from lesionlab.taxonomy import Taxonomy

PARTS = ("train", "validation", "test")
_PART_OF_NAME = {part: part for part in PARTS} | {"val": "validation", "valid": "validation"}
KAGGLE_IMAGES = 10  # below, a part of 80/20 and then 10 % may be empty
SPLIT_COLUMNS = ("image_id", "lesion_id", "group", "dx", "part")


def split(
    table: pd.DataFrame, choice: SplitChoice, taxonomy: Taxonomy, *, seed: int, of_rows: int | None = None
) -> pd.Series:
    """Give each image its part.

    Args:
        table: columns `image_id`, `lesion_id`, `group`, `dx`, `dataset`, and `sha256` where contents are known.
        choice: the recipe's split.
        taxonomy: of the table's diagnoses.
        seed: of the draw; `kaggle` and `file` do not draw.
        of_rows: how many the table had, `row` counting them, before images were set aside; those given where none is said.

    Returns:
        Strings out of `PARTS`, aligned with the table.

    Raises:
        UsageError: a diagnosis with too few lesions, an unknown source, a bad file of one's own.
        LesionlabError: a split that promises not to leak leaks.

    """
    if choice.test_share + choice.validation_share >= 1:
        raise UsageError(
            "split.test_share and split.validation_share leave nothing to train on: their sum must be below 1."
        )
    if choice.name == "kaggle":
        return kaggle_split(table, of_rows)
    if choice.name == "official":
        return official_split(table, choice, taxonomy, seed=seed)
    if choice.name == "source":
        parts = source_split(table, choice, taxonomy, seed=seed)
    elif choice.name == "file":
        parts = file_split(table, Path(choice.file))
    else:
        parts = lesion_split(
            table, taxonomy, test_share=choice.test_share, validation_share=choice.validation_share, seed=seed
        )
    proof = prove(table, parts)
    if proof.is_leaking:
        raise LesionlabError(
            f"The split {choice.name!r} leaks: {proof.shared_lesions} lesions, {proof.shared_groups} groups of "
            f"near-duplicates and {proof.shared_hashes} image contents"
            f"{f' and {proof.shared_patients} patients' if proof.shared_patients else ''} lie on two sides "
            f"({_first_shared(table, parts)}). Put all images of a lesion, and of lesions that share a near-duplicate or a "
            "patient, in one part; or use the split 'lesion'."
        )
    return parts


def lesion_split(
    table: pd.DataFrame, taxonomy: Taxonomy, *, test_share: float, validation_share: float, seed: int
) -> pd.Series:
    """Draw whole groups, diagnosis by diagnosis, as `groups_by_dx` gives them; each of these is in every part.

    If only one or two patients count for a diagnosis, they go to training when patients counted for a rarer one also show it;
    a diagnosis may then be missing in a part.

    Raises:
        UsageError: a diagnosis has fewer than three groups of lesions.

    """
    part_of_group: dict[str, str] = {}
    for dx, groups in groups_by_dx(table, taxonomy).items():
        is_few = len(groups) in (1, 2)
        if is_few and groups_with(table, dx, groups) < len(PARTS):
            what = "lesion(s)" if PATIENT not in table else "patient(s)"
            raise UsageError(
                f"{taxonomy.name_of[dx]} ({dx}) has {len(groups)} {what}: training, validation and test need at "
                "least one each. Add lesions, take these rows out of the metadata, or split with a file of your own "
                "(--split FILE.csv with the columns image_id, part)."
            )
        order = shuffled(groups, seed)
        tested = 0 if is_few else part_size(test_share, len(groups), most=len(groups) - 2)
        validated = 0 if is_few else part_size(validation_share, len(groups), most=len(groups) - tested - 1)
        cuts = np.split(order, [tested, tested + validated])
        for part, members in zip(("test", "validation", "train"), cuts, strict=True):
            part_of_group |= dict.fromkeys(members.tolist(), part)
    return table["group"].map(part_of_group).rename("part")


def kaggle_split(table: pd.DataFrame, of_rows: int | None = None) -> pd.Series:
    """The notebook's: images, not lesions; 80/20 by scikit-learn's seed 1234, then 10 % validation by seed 2. Leaks.

    It is drawn from all of `of_rows`, as the notebook has it: an image that was set aside moves no other to another part.
    """
    count = len(table) if of_rows is None else of_rows
    if count < KAGGLE_IMAGES:
        raise UsageError(f"The split 'kaggle' needs {KAGGLE_IMAGES} images or more; these are {count}. Use 'lesion'.")
    pool, test = train_test_split(np.arange(count), test_size=0.2, random_state=1234)
    _, validation = train_test_split(pool, test_size=0.1, random_state=2)
    parts = np.full(count, "train", dtype=object)
    parts[test], parts[validation] = "test", "validation"
    kept = parts if of_rows is None else parts[table["row"].to_numpy()]
    return pd.Series(kept, index=table.index, name="part")


def check_source(table: pd.DataFrame, choice: SplitChoice) -> str:
    """Give the clinic to hold out as the data writes it; refuse one that the data does not have, or has alone.

    Raises:
        UsageError: names the clinics that there are.

    """
    sources = sorted(table["dataset"].unique())
    if len(sources) < 2:
        raise UsageError(
            f"split.source = {choice.source!r}: the data has one clinic alone, {sources[0]!r}, and nothing would be left to "
            "train on. Use the split 'lesion'."
        )
    found = [source for source in sources if source.lower() == choice.source.lower()]
    if not found:
        raise UsageError(
            f"split.source = {choice.source!r}: the data has {', '.join(map(repr, sources))}"
            f"{nearest(choice.source, sources)}. One must be held out and at least one other trained on: "
            "--split source:NAME."
        )
    return found[0]


def source_split(table: pd.DataFrame, choice: SplitChoice, taxonomy: Taxonomy, *, seed: int) -> pd.Series:
    """Test on one clinic (the column `dataset`), train and validate on the others.

    Groups with an image from that clinic are tested on whole.

    Raises:
        UsageError: no such clinic in the table, or no other, or a diagnosis that has too few lesions without it.

    """
    clinic = check_source(table, choice)
    held_out = table["group"].isin(table.loc[table["dataset"] == clinic, "group"])
    parts = pd.Series("test", index=table.index, name="part", dtype=object)
    rest = table[~held_out]
    if rest.empty:
        raise UsageError(
            f"Every lesion has an image from {clinic}: nothing is left to train on. Hold out another clinic, or use the split "
            "'lesion'."
        )
    for dx, groups in groups_by_dx(rest, taxonomy).items():
        if len(groups) == 1 and groups_with(rest, dx, groups) == 1:
            raise UsageError(
                f"Without {clinic}, {taxonomy.name_of[dx]} ({dx}) has one lesion: training and validation need "
                "one each."
            )
        order = shuffled(groups, seed)
        validated = part_size(choice.validation_share, len(groups), most=len(groups) - 1)
        is_validated = rest["group"].isin(order[:validated])
        is_trained = rest["group"].isin(order[validated:])
        parts.loc[rest.index[is_validated]] = "validation"
        parts.loc[rest.index[is_trained]] = "train"
    return parts


def official_split(table: pd.DataFrame, choice: SplitChoice, taxonomy: Taxonomy, *, seed: int) -> pd.Series:
    """Take the parts that the data set was published in; where it has none for validation, a share of the training lesions.

    Raises:
        UsageError: the data name no parts, or leave images without one.

    """
    parts = table[PART].rename("part") if PART in table else pd.Series(UNKNOWN, index=table.index, name="part")
    missing = [part for part in ("train", "test") if not (parts == part).any()]
    if missing:
        raise UsageError(
            f"The split 'official' needs the parts that the data were published in, and the data have no "
            f"{' and no '.join(missing)}: put the tables of all parts into the folder, or use the split 'lesion'."
        )
    if (without := table.loc[parts == UNKNOWN, "image_id"]).any():
        raise UsageError(
            f"The split 'official' finds no part for {len(without):,} images: {', '.join(without[:5])}. Take them out, or "
            "use the split 'lesion'."
        )
    if (parts == "validation").any():
        return parts
    trained = table[parts == "train"]
    for groups in groups_by_dx(trained, taxonomy).values():
        validated = part_size(choice.validation_share, len(groups), most=len(groups) - 1)
        is_validated = trained["group"].isin(shuffled(groups, seed)[:validated])
        parts = parts.mask(parts.index.isin(trained.index[is_validated]), "validation")
    return parts


def file_split(table: pd.DataFrame, path: Path, *, needed: Sequence[str] = PARTS) -> pd.Series:
    """Read a split of one's own: a table with the columns `image_id` and `part` (train, validation, test).

    Each part of `needed` has to hold images; rows of other images are passed over.

    Raises:
        UsageError: the file, its columns, a part's name, an image that is missing or listed twice.

    """
    given = _read_split_file(path)
    unknown_parts = given[~given["part"].isin(PARTS)]
    if len(unknown_parts):
        part, row = unknown_parts[["part", ROW]].iloc[0]
        raise UsageError(f"{path}, row {row}: part {part!r} is not one of {', '.join(PARTS)}.")
    twice = given[given["image_id"].duplicated()]
    if len(twice):
        image_id, row = twice[["image_id", ROW]].iloc[0]
        raise UsageError(f"{path}, row {row}: image_id {image_id!r} is listed twice.")
    parts = table["image_id"].map(given.set_index("image_id")["part"]).rename("part")
    if parts.isna().any():
        missing = table.loc[parts.isna(), "image_id"]
        raise UsageError(
            f"{path} gives no part to {len(missing)} images: {', '.join(missing[:5])}. Add a row for each."
        )
    for part in needed:
        if not (parts == part).any():
            raise UsageError(f"{path} puts no image in the part {part!r}: each of {', '.join(needed)} needs some.")
    return parts


def split_file_digest(path: Path) -> str:
    """SHA-256 of a split file: the same path with other parts in it makes another run.

    Raises:
        UsageError: the file cannot be read.

    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError as error:
        raise UsageError(f"There is no split file {path}.") from error
    except OSError as error:
        raise UsageError(f"The split file {path} cannot be read ({error.strerror}).") from error


def _read_split_file(path: Path) -> pd.DataFrame:
    """Read the rows of a split file, and `ROW`; ids without suffix, as those of the metadata, and parts in `PARTS`' words."""
    given = read_table(path)
    given = with_own_names(given, ["image_id", "part"], path)
    ids = [
        check_image_id(value, f"{path}, row {row}") for value, row in zip(given["image_id"], given[ROW], strict=True)
    ]
    parts = [_PART_OF_NAME.get(value.lower(), value) for value in given["part"]]
    return given.assign(image_id=ids, part=parts)


def describe_parts(table: pd.DataFrame, parts: pd.Series) -> dict[str, dict[str, int]]:
    """Count images and lesions in each part."""
    return {
        part: {"images": int((parts == part).sum()), "lesions": int(table.loc[parts == part, "lesion_id"].nunique())}
        for part in PARTS
    }


def _first_shared(table: pd.DataFrame, parts: pd.Series) -> str:
    sides = parts.groupby(table["group"].to_numpy()).nunique()
    group = sides.index[sides > 1]
    images = table.loc[table["group"].isin(group[:1]), "image_id"] if len(group) else table["image_id"][:0]
    return f"first: {', '.join(images[:5])}" if len(images) else "byte-identical images"
