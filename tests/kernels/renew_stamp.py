"""Writes ``tested-on-hopper.json``: run it where the GPU tests have just passed on a Hopper GPU.

``python tests/kernels/renew_stamp.py``; see ``gridcast/kernels/README.md``.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

KERNELS = Path(__file__).resolve().parents[2] / "gridcast" / "kernels"
STAMP = KERNELS / "tested-on-hopper.json"
_HOPPER = 9  # compute capability


def hashes() -> dict[str, str]:
    """SHA-256 of each CUDA source."""
    return {
        path.name: sha256(path.read_bytes()).hexdigest() for path in sorted(KERNELS.glob("*.cu"))
    }


def main() -> int:
    import torch

    if not torch.cuda.is_available() or torch.cuda.get_device_capability()[0] != _HOPPER:
        sys.stderr.write("ERROR GPU: found no Hopper GPU, expected the one that passed the tests\n")
        return 1
    stamp = {
        "tested_on": torch.cuda.get_device_name(),
        "date": datetime.now(UTC).date().isoformat(),
        "sha256": hashes(),
    }
    STAMP.write_text(json.dumps(stamp, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
