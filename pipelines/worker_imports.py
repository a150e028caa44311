"""What every local worker process needs, made ready once in the process that they are forks of; see `pipelines.cluster`."""

import gc
import signal

import distributed.nanny  # noqa: F401
import numpy as np

import audiodata.jobs  # noqa: F401
from audiodata.cleaning import measure

signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver, which ends them
measure(np.ones((1, 1), np.float32), 8000)  # the first call of any compiled function readies the compiler
gc.collect()
gc.freeze()  # else the collector of each fork would touch, and so copy, what they share
