"""Recordings of a microphone array, made of mono sounds: free field, rectangular rooms and measured responses.

`render` places one sound; ``python -m pipelines simulate`` makes a data set of many.
"""

from audiodata.simulation.delays import Responses, delayed_impulses
from audiodata.simulation.files import FileSettings, PlacedSound, SimulatedFile, SoundTask, simulate_sound
from audiodata.simulation.rendering import add_sensor_noise, convolve, loudest_start
from audiodata.simulation.scene import Scene, check_azimuths, render, responses_at, scene_of
from audiodata.simulation.sofa import read_sofa
from audiodata.simulation.tables import SCENE_FILE, TABLE_FILE, describe

__all__ = [
    "SCENE_FILE",
    "TABLE_FILE",
    "FileSettings",
    "PlacedSound",
    "Responses",
    "Scene",
    "SimulatedFile",
    "SoundTask",
    "add_sensor_noise",
    "check_azimuths",
    "convolve",
    "delayed_impulses",
    "describe",
    "loudest_start",
    "read_sofa",
    "render",
    "responses_at",
    "scene_of",
    "simulate_sound",
]
