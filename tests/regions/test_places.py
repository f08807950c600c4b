"""The table of places, and how people name one."""

import pytest

from voiceedge.errors import ConfigError
from voiceedge.regions.places import Place, find, here, place_of, regions


def test_a_code_names_one_region():
    codes = [region.code.casefold() for region in regions()]
    assert len(codes) == len(set(codes)) > 250


def test_every_place_is_on_the_globe():
    for region in regions():
        assert -90 <= region.place.latitude <= 90, region
        assert -180 <= region.place.longitude <= 180, region
        assert (len(region.country), region.country.isupper()) == (2, True), region


def test_a_citys_name_means_one_place():
    assert len({region.place.name.casefold() for region in regions()}) == len({region.place for region in regions()})


def test_no_city_is_called_as_anothers_code():
    cities = {region.place.name.casefold() for region in regions()}
    assert cities & {region.code.casefold() for region in regions()} == set()


@pytest.mark.parametrize("of", ["aws", "gcp", "azure", "oci", "hetzner", "ovh", "iata"])
def test_the_common_clouds_and_airports_are_there(of):
    assert sum(region.of == of for region in regions()) >= (100 if of == "iata" else 5)


def test_airports_have_three_capital_letters():
    assert all(len(r.code) == 3 and r.code.isupper() for r in regions() if r.of == "iata")


@pytest.mark.parametrize("name", ["ap-northeast-1", "AP-NORTHEAST-1", "asia-northeast1", "japaneast", "nrt", " Tokyo "])
def test_a_place_has_many_names(name):
    assert find(name) == Place("Tokyo", 35.68, 139.69)


def test_an_unknown_name_is_refused_with_what_looks_like_it():
    with pytest.raises(ConfigError, match=r"'us-eats-1' is not in the table; did you mean us-east-1"):
        find("us-eats-1")
    with pytest.raises(ConfigError, match="give latitude and longitude as well"):
        find("my cellar 42!")


def test_settings_may_name_no_place():
    assert here(None, None, None) is None


def test_coordinates_win_over_the_table_and_let_a_region_have_any_name():
    assert here("NRT", None, None) == Place("Tokyo", 35.68, 139.69)
    assert here("NRT", 35.77, 140.39) == Place("NRT", 35.77, 140.39)
    assert here("the cellar", 0.0, 0.0) == Place("the cellar", 0.0, 0.0)
    assert here(None, -33.9, 18.4) == Place("-33.90,18.40", -33.9, 18.4)


@pytest.mark.parametrize(("latitude", "longitude", "missing"), [(1.0, None, "longitude"), (None, 1.0, "latitude")])
def test_one_coordinate_alone_is_refused(latitude, longitude, missing):
    with pytest.raises(ConfigError, match=f"{missing} is not set"):
        here("NRT", latitude, longitude)


def test_a_person_may_write_degrees():
    assert place_of("35.68,139.69") == Place("35.68,139.69", 35.68, 139.69)
    assert place_of("iad").name == "Ashburn"


@pytest.mark.parametrize("text", ["north,south", "91,0", "0,181", "nan,0", "1,2,3"])
def test_what_is_not_on_the_globe_is_refused(text):
    with pytest.raises(ConfigError, match=r"place|globe"):
        place_of(text)
