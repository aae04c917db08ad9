"""The body of a request in, the images in it out: multipart forms, parsed in memory alone."""

from dataclasses import dataclass
from io import BytesIO

from multipart import MultipartError, MultipartParser, parse_options_header

from lesionlab.serve.limits import Limits

FIELD = "image"
PATIENT = ("age", "sex", "site")
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


@dataclass(frozen=True)
class Form:
    """What was sent: images, and of the fields `PATIENT` those that the form has, as they were written."""

    uploads: tuple[Upload, ...]
    patient: dict[str, str]


def read_form(content_type: str, body: bytes, limits: Limits) -> Form:
    """Take the images out of a `multipart/form-data` body, and what it says of the patient.

    Age, sex and site are fields of the form, not of the address, which servers on the way write into their logs.

    Args:
        content_type: the request's header, with the boundary.
        body: whole.
        limits: of the service.

    Raises:
        BadUpload: another content type (415), no boundary or a broken form (400), too many or too large images (413), none
            at all, other fields, or one of `PATIENT` twice or too long (422).

    """
    kind, options = parse_options_header(content_type)
    if kind != "multipart/form-data":
        raise BadUpload(415, "not_multipart", f"Send multipart/form-data with one field '{FIELD}' for each image.")
    if not options.get("boundary"):
        raise BadUpload(400, "no_boundary", "The Content-Type names no boundary.")
    uploads: list[Upload] = []
    patient: dict[str, str] = {}
    parser = MultipartParser(
        BytesIO(body),
        options["boundary"],
        content_length=len(body),
        part_limit=limits.files + len(PATIENT),
        partsize_limit=limits.file_bytes,
        spool_limit=len(body) + 1,  # never to the disk
        memory_limit=len(body) + 1,
        disk_limit=0,
    )
    try:
        for part in parser:
            if part.name in PATIENT and part.name not in patient:
                patient[part.name] = _short_text(part.name, part.raw)
            elif part.name == FIELD:
                uploads.append(Upload(_plain_name(part.filename, len(uploads) + 1), part.raw))
            else:
                fault = f"the field {part.name!r} twice" if part.name in PATIENT else f"a field {part.name[:40]!r}"
                read = f"'{FIELD}', and once each {', '.join(PATIENT)}"
                raise BadUpload(422, "unknown_field", f"The form has {fault}; {read} are read.")
    except MultipartError as error:
        raise _worded(error, limits) from error
    if len(uploads) > limits.files:
        raise _too_large(limits)
    if not uploads:
        raise BadUpload(422, "no_image", f"The form holds no field '{FIELD}'.")
    return Form(tuple(uploads), patient)


def _short_text(name: str, data: bytes) -> str:
    if len(data) > MOST_NAME:
        raise BadUpload(422, "bad_parameter", f"The field {name!r} has more than {MOST_NAME} bytes.")
    return data.decode("utf-8", "replace")


def _plain_name(name: str | None, number: int) -> str:
    """Keep the last part of a path, without control characters; the name is only ever sent back."""
    last = (name or "").replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(letter for letter in last if letter.isprintable())[:MOST_NAME]
    return kept if kept.strip(". ") else f"image-{number}"


def _worded(error: MultipartError, limits: Limits) -> BadUpload:
    if error.http_status == 413:
        return _too_large(limits)
    return BadUpload(400, "broken_form", f"The form is broken: {error}.")


def _too_large(limits: Limits) -> BadUpload:
    words = f"At most {limits.files} images of {limits.file_bytes / 1e6:g} MB each are taken at a time."
    return BadUpload(413, "too_large", words)
