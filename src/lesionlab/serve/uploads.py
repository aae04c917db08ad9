"""The body of a request in, the images in it out: multipart forms, parsed in memory alone."""

from dataclasses import dataclass
from io import BytesIO

from multipart import MultipartError, MultipartParser, parse_options_header

from lesionlab.serve.limits import Limits

FIELD = "image"
MOST_NAME = 200


class BadUpload(Exception):
    """A body that holds no images; `status`, `code` and `reason` are for the client."""

    def __init__(self, status: int, code: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.code, self.reason = status, code, reason


@dataclass(frozen=True)
class Upload:
    """One image as it was sent: the last part of its file name, and its bytes."""

    name: str
    data: bytes


def read_uploads(content_type: str, body: bytes, limits: Limits) -> list[Upload]:
    """Take the images out of a `multipart/form-data` body.

    Args:
        content_type: the request's header, with the boundary.
        body: whole.
        limits: of the service.

    Raises:
        BadUpload: another content type (415), no boundary or a broken form (400), too many or too large images (413), none
            at all, or other fields than `image` (422).

    """
    kind, options = parse_options_header(content_type)
    if kind != "multipart/form-data":
        raise BadUpload(415, "not_multipart", f"Send multipart/form-data with one field '{FIELD}' for each image.")
    if not options.get("boundary"):
        raise BadUpload(400, "no_boundary", "The Content-Type names no boundary.")
    uploads: list[Upload] = []
    parser = MultipartParser(
        BytesIO(body),
        options["boundary"],
        content_length=len(body),
        part_limit=limits.files,
        partsize_limit=limits.file_bytes,
        spool_limit=len(body) + 1,  # never to the disk
        memory_limit=len(body) + 1,
        disk_limit=0,
    )
    try:
        for part in parser:
            if part.name != FIELD:
                raise BadUpload(
                    422, "unknown_field", f"The form has a field {part.name[:40]!r}; only '{FIELD}' is read."
                )
            uploads.append(Upload(_plain_name(part.filename, len(uploads) + 1), part.raw))
    except MultipartError as error:
        raise _worded(error, limits) from error
    if not uploads:
        raise BadUpload(422, "no_image", f"The form holds no field '{FIELD}'.")
    return uploads


def _plain_name(name: str | None, number: int) -> str:
    """Keep the last part of a path, without control characters; the name is only ever sent back."""
    last = (name or "").replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(letter for letter in last if letter.isprintable())[:MOST_NAME]
    return kept if kept.strip(". ") else f"image-{number}"


def _worded(error: MultipartError, limits: Limits) -> BadUpload:
    if error.http_status == 413:
        return BadUpload(
            413,
            "too_large",
            f"At most {limits.files} images of {limits.file_bytes / 1e6:g} MB each are taken at a time.",
        )
    return BadUpload(400, "broken_form", f"The form is broken: {error}.")
