"""Places on the globe, by the codes that clouds and airports give them.

`places.tsv` holds the regions of the larger clouds and the airports of the larger cities (the codes of Fly.io and
Cloudflare are those of airports). Coordinates are those of the city: a region is several buildings around it, and
ten kilometres are a tenth of a millisecond.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from voiceedge.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Place:
    """A point on the globe and what it is called."""

    name: str
    latitude: float
    """Degrees north, -90 to 90."""
    longitude: float
    """Degrees east, -180 to 180."""


@dataclass(frozen=True, slots=True)
class Region:
    """A row of the table."""

    code: str
    of: str
    """Who calls it so: `aws`, `gcp`, `azure`, `oci`, `hetzner`, `ovh`, `digitalocean` or `iata`."""
    country: str
    """ISO 3166-1 alpha-2."""
    place: Place
    """Called as the city."""


@cache
def regions() -> tuple[Region, ...]:
    """The table that is shipped."""
    text = (files("voiceedge.regions") / "places.tsv").read_text(encoding="utf-8")
    return tuple(
        Region(
            row["code"], row["of"], row["country"], Place(row["city"], float(row["latitude"]), float(row["longitude"]))
        )
        for row in csv.DictReader(text.splitlines(), delimiter="\t")
    )


@cache
def _by_name() -> Mapping[str, Place]:
    """Places by what they can be called, in small letters; a code wins over a city of the same name."""
    table = regions()
    cities = {region.place.name.casefold(): region.place for region in table}
    return cities | {region.code.casefold(): region.place for region in table}


def find(name: str) -> Place:
    """The place that a code or a city's name stands for; its case does not matter.

    Raises:
        ConfigError: it is unknown; the message proposes what looks like it.
    """
    place = _by_name().get(name.strip().casefold())
    if place is None:
        near = difflib.get_close_matches(name.casefold(), _by_name(), n=3)
        proposal = f"did you mean {' or '.join(near)}? Else" if near else "then"
        raise ConfigError(f"Region {name!r} is not in the table; {proposal} give latitude and longitude as well.")
    return place


def here(region: str | None, latitude: float | None, longitude: float | None) -> Place | None:
    """The place that settings or a line of a file name; None where they name none.

    Coordinates win over what the table says of `region`, and let it have any name.

    Raises:
        ConfigError: one coordinate stands alone, or the region is unknown and has none.
    """
    if (latitude is None) != (longitude is None):
        missing = "latitude" if latitude is None else "longitude"
        raise ConfigError(f"latitude and longitude go together, and {missing} is not set.")
    if latitude is None or longitude is None:
        return None if region is None else find(region)
    return Place(region or _written(latitude, longitude), latitude, longitude)


def place_of(text: str) -> Place:
    """A place as a person writes it: `NRT`, `Tokyo` or `35.68,139.69`.

    Raises:
        ConfigError: it is neither.
    """
    north, comma, east = text.partition(",")
    if not comma:
        return find(text)
    try:
        latitude, longitude = float(north), float(east)
    except ValueError:
        raise ConfigError(f"{text!r} is no place; give a region's code, a city, or LAT,LON in degrees.") from None
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise ConfigError(f"{text!r} is not on the globe: latitude is -90 to 90, longitude -180 to 180 degrees.")
    return Place(_written(latitude, longitude), latitude, longitude)


def _written(latitude: float, longitude: float) -> str:
    return f"{latitude:.2f},{longitude:.2f}"
