"""What DeepSpeed reads while it is imported: import this module first."""

import logging
import os
import warnings

import torch

# DeepSpeed reads these when it is imported: which accelerator, and how much it says.
if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
# DeepSpeed calls collectives by names that torch is about to change; no user can mend that.
warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed.*")
