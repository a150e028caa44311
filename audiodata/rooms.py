"""The rooms that sounds can be placed in, as a catalog describes them."""

from pydantic import Field, model_validator

from audiodata.settings import Settings

Position = tuple[float, float, float]


class RoomSettings(Settings):
    """A rectangular room, from one of its lower corners: x along its length, which is the array's front, y to the left, z up.

    Attributes
    ----------
    size_m : tuple of float
        Length, width, height.
    array_m : tuple of float
        Where in the room the array's origin is. In the very middle many reflections arrive together: choose another place.
    rt60_s : float
        Reverberation time: in which sound decays by 60 dB.
    """

    size_m: Position
    array_m: Position
    rt60_s: float = Field(gt=0, le=10)

    @model_validator(mode="after")
    def _array_inside(self) -> "RoomSettings":
        if min(self.size_m) <= 0:
            raise ValueError("`size_m` must be over 0 m in each direction")
        if not all(0 < at < size for at, size in zip(self.array_m, self.size_m, strict=True)):
            raise ValueError(f"`array_m` = {list(self.array_m)} lies outside the room of {list(self.size_m)} m")
        return self
