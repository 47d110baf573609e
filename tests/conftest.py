"""Settings that must stand before torch or a download library is imported."""

from __future__ import annotations

import os

# No test may reach the network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
# Small work on many cores is slower than on two, and results must not depend on the machine's size.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "2")
# Output is compared as text: no colours, one width.
os.environ["NO_COLOR"] = "1"
os.environ["COLUMNS"] = "120"
os.environ.pop("FORCE_COLOR", None)
# A test run started by a scheduler is not one process of a parallel training.
for variable in ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE"):
    os.environ.pop(variable, None)
