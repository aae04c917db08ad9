"""Files of a run directory, for tests that do not train one."""

import msgspec

from lesionlab.data.split_proof import SplitProof
from lesionlab.runs.identity import Identity
from lesionlab.runs.manifest import (
    DataFacts,
    Environment,
    ExportFacts,
    Manifest,
    ModelFacts,
    PartCounts,
    PixelFacts,
    SplitFacts,
)


def run_manifest(finished: str | None = "2026-01-01", folder: str = "/nowhere") -> dict:
    """What `manifest.json` holds of a run on 120 generated lesions that lie in `folder`."""
    counts = {"train": PartCounts(80, 80), "validation": PartCounts(20, 20), "test": PartCounts(20, 20)}
    return msgspec.to_builtins(
        Manifest(
            lesionlab="0.1.0",
            command="lesionlab run",
            request=Identity(),
            seed=0,
            started="2026-01-01",
            finished=finished,
            environment=Environment(
                python="3.11",
                platform="Linux",
                processor="a processor",
                cores=2,
                memory_gib=4.0,
                packages={},
                backend="tensorflow",
                device="cpu",
            ),
            data=DataFacts(
                folder=folder,
                layout="one folder",
                rows=120,
                images=120,
                lesions=120,
                fingerprint="f" * 64,
                is_generated=True,
            ),
            findings=(),
            set_aside=(),
            split=SplitFacts(name="lesion", parts=counts, proof=SplitProof(0, 0, 0, 20, 0, 0.0, False)),
            pixels=PixelFacts(
                height=24,
                width=24,
                crop="centre",
                normalisation="training",
                channels_mean=(1.0, 1.0, 1.0),
                channels_std=(1.0, 1.0, 1.0),
            ),
            model=ModelFacts(architecture="small-cnn", parameters=1, weights="none", optimizer="Adam"),
            evaluated="2026-01-01",
            export=ExportFacts(onnx=None, reason="not asked for"),
            stages=(),
        )
    )
