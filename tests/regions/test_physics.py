"""Distances on the globe and what light needs for them."""

from math import pi

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.regions.physics import EARTH_RADIUS_KM, distance_km, floor_ms
from voiceedge.regions.places import Place, find

places = st.builds(Place, st.just("somewhere"), st.floats(-90, 90), st.floats(-180, 180))


@pytest.mark.parametrize(
    ("one", "other", "km"),
    [
        ("Tokyo", "us-east-1", 10_900),
        ("London", "New York", 5_570),
        ("Sydney", "London", 16_990),
        ("Frankfurt", "Singapore", 10_260),
        ("Los Angeles", "Tokyo", 8_815),
        ("Paris", "London", 344),
        ("Cape Town", "Johannesburg", 1_262),
    ],
)
def test_known_distances_are_right_to_two_percent(one, other, km):
    assert distance_km(find(one), find(other)) == pytest.approx(km, rel=0.02)


@given(places, places)
def test_it_is_as_far_back_as_there_and_never_farther_than_half_around(one, other):
    there = distance_km(one, other)
    assert there == pytest.approx(distance_km(other, one), abs=1e-6)
    assert 0 <= there <= pi * EARTH_RADIUS_KM + 1e-6


@given(places)
def test_nowhere_is_away_from_itself(place):
    assert distance_km(place, place) == 0


@given(places, places, places)
def test_a_detour_is_never_shorter(one, way, other):
    assert distance_km(one, other) <= distance_km(one, way) + distance_km(way, other) + 1e-3


def test_antipodes_are_half_the_circumference_apart():
    assert distance_km(Place("pole", 90, 0), Place("pole", -90, 77)) == pytest.approx(pi * EARTH_RADIUS_KM)


def test_light_in_glass_takes_a_millisecond_for_every_hundred_kilometres_there_and_back():
    assert floor_ms(0) == 0
    assert floor_ms(100) == pytest.approx(1.0, rel=0.001)
    assert floor_ms(10_900) == pytest.approx(109.1, abs=0.1)
