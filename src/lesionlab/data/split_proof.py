"""The proof of a split: what lies on two sides of it, counted anew on its result."""

from dataclasses import dataclass

import pandas as pd

from lesionlab.data.layouts.metadata import PATIENT, UNKNOWN


@dataclass(frozen=True)
class SplitProof:
    """What lies on two sides: counts of lesions, groups, image contents, and patients (None where the data name none)."""

    shared_lesions: int
    shared_groups: int
    shared_hashes: int
    test_images: int
    test_images_sharing_a_lesion: int
    test_images_sharing_a_lesion_share: float
    is_leaking: bool
    shared_patients: int | None = None


def prove(table: pd.DataFrame, parts: pd.Series) -> SplitProof:
    """Count what lies on two sides; lesion, group and content are each looked at by themselves."""
    is_test = parts == "test"
    shares = is_test & table["lesion_id"].isin(table.loc[~is_test, "lesion_id"])
    contents = table["sha256"] if "sha256" in table else pd.Series(table.index, index=table.index)
    lesions, groups, hashes = (_on_two_sides(keys, parts) for keys in (table["lesion_id"], table["group"], contents))
    known = table[PATIENT] != UNKNOWN if PATIENT in table else None
    patients = None if known is None else _on_two_sides(table.loc[known, PATIENT], parts[known])
    return SplitProof(
        shared_lesions=lesions,
        shared_groups=groups,
        shared_hashes=hashes,
        test_images=int(is_test.sum()),
        test_images_sharing_a_lesion=int(shares.sum()),
        test_images_sharing_a_lesion_share=float(shares.sum() / max(1, is_test.sum())),
        is_leaking=bool(lesions or groups or hashes or patients),
        shared_patients=patients,
    )


def count_patients(table: pd.DataFrame) -> dict[str, int]:
    """Count the patients of a table that names them, and the images of which none is known."""
    known = table.loc[table[PATIENT] != UNKNOWN, PATIENT]
    return {"known": int(known.nunique()), "images_without": len(table) - len(known)}


def in_words(proof: SplitProof) -> list[str]:
    """Word a proof, a line a statement."""
    if not proof.is_leaking:
        patients = "" if proof.shared_patients is None else "no patient, "
        return [f"proved: {patients}no lesion, no near-duplicate, no copy by name and no image content on two sides"]
    images, share = proof.test_images_sharing_a_lesion, proof.test_images_sharing_a_lesion_share
    leak = "THIS SPLIT LEAKS"
    if images or not proof.shared_patients:
        leak += f": {images:,} test images ({share:.1%}) show a lesion that is trained or validated on"
    return [leak, *([f"{proof.shared_patients:,} patients have images on two sides"] if proof.shared_patients else [])]


def unseen(*, by_points: bool) -> str:
    """Say which photographs of one lesion a proof cannot see; `by_points`: they were looked for by `point_matches`.

    The shares were measured on real pictures, see docs/copies.md.
    """
    if by_points:
        return (
            "Not seen: photographs of one lesion that have fewer than 15 points in common, such as blurred ones or of another "
            "part of it; of HAM10000's second photographs about 1 in 7."
        )
    return (
        "Not seen: one lesion at another zoom, turned by odd angles, stretched, or in another photograph; of lesions that "
        "HAM10000 and MILK10k share about 1 in 3. To find them: pip install 'lesionlab[match]'."
    )


def _on_two_sides(keys: pd.Series, parts: pd.Series) -> int:
    sides = pd.DataFrame({"key": keys.to_numpy(), "part": parts.to_numpy()}).drop_duplicates()
    return int(sides["key"][sides["key"].duplicated()].nunique())
