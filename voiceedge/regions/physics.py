"""What no network can beat: the way there and back at the speed of light in glass."""

from __future__ import annotations

from math import asin, cos, radians, sin, sqrt

from voiceedge.regions.places import Place

EARTH_RADIUS_KM = 6371.0088
"""Mean radius, (2a + b) / 3 of GRS 80 (Moritz, Geodetic Reference System 1980). On a sphere of it no distance is wrong
by more than 0.6 %."""
LIGHT_KM_A_MS = 299.792458
"""In a vacuum, exactly (SI)."""
GLASS = 2 / 3
"""Share of it that is left in a fibre: its refractive index is 1.47, so 0.68, usually said as two thirds."""
WAYS = 2
"""There and back."""
BUDGETS_MS = (150, 500)
"""Two budgets of a conversation that a round trip is held against: 150 ms, a delay that talk bears without harm (ITU-T
G.114, for one way), and 500 ms, a prompt answer (people leave some 200 ms between turns: Stivers et al., 2009)."""


def distance_km(one: Place, other: Place) -> float:
    """Length of the great circle between two places, by the haversine formula (Sinnott, Sky and Telescope 68, 1984)."""
    north, south = radians(one.latitude), radians(other.latitude)
    across = radians(other.longitude - one.longitude)
    chord = sin((south - north) / 2) ** 2 + cos(north) * cos(south) * sin(across / 2) ** 2
    return 2 * EARTH_RADIUS_KM * asin(sqrt(min(chord, 1.0)))


def floor_ms(km: float) -> float:
    """Shortest possible round trip over a distance: a cable along the great circle and nothing that takes time."""
    return WAYS * km / (LIGHT_KM_A_MS * GLASS)
