"""Write events to the project's own ``.npz`` files."""

import os
import threading
from pathlib import Path

import numpy as np

from audiodata.errors import EnvironmentFault
from audiodata.events.record import Events


def save_events(path: Path, events: Events) -> None:
    """Write a recording; `audiodata.events.readers` reads it as "npz".

    The file appears under its name when it is complete, and the same events give the same bytes.

    Parameters
    ----------
    path : Path
        Ends in ``.npz``; an existing file is replaced.
    events : Events

    Raises
    ------
    EnvironmentFault
        The disk is full or may not be written to.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_native_id()}.part")
    columns = {name: events.array[name] for name in events.array.dtype.names}
    try:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **columns, sensor_size=np.array(events.sensor_size, "<i8"))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise EnvironmentFault(f"{path}: can't be written ({error.strerror}); is there space, and may the folder be written to?") from error
    finally:
        temporary.unlink(missing_ok=True)
