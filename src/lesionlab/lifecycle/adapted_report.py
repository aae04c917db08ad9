"""The report of an adaptation, put together of what was adapted; apart from its words, which need no figures to be drawn."""

from pathlib import Path

from lesionlab.data.phantom.write import is_generated
from lesionlab.lifecycle.adapt import Adapted
from lesionlab.lifecycle.adapted_words import remarks
from lesionlab.report.adapted import AdaptedReport, Candidate, write_adapted_html


def write_report(adapted: Adapted, path: Path, file: Path) -> None:
    """Write the report of an adaptation, which names the new model `file`."""
    choice, start, old = adapted.choice, adapted.start, adapted.old.facts
    rows = [Candidate(s.words, s.loss, s.gain, s.error, s.name == choice.name) for s in choice.scores]
    write_adapted_html(
        path,
        AdaptedReport(
            old=old,
            new=adapted.facts,
            file=file.name,
            words=choice.words,
            is_changed=choice.is_changed,
            before=adapted.before,
            after=adapted.after,
            gains=adapted.gains,
            diagnoses=adapted.diagnoses,
            candidates=rows,
            added=start.new,
            left_out=[dx for place, dx in enumerate(old.taxonomy.dx) if place not in start.origin],
            suspects=adapted.suspects,
            not_dermatoscopic=adapted.not_dermatoscopic,
            remarks=remarks(adapted),
            is_generated=is_generated(adapted.labelled.table["image_id"]),
        ),
    )
