"""Environment and log settings that DeepSpeed reads on import: import this module before it."""

import logging
import os
import warnings

import torch

# Read by DeepSpeed on import: the accelerator and the log level.
if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
# DeepSpeed calls deprecated names of torch collectives, which users cannot fix.
warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed.*")
