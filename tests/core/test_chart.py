import xml.etree.ElementTree as ET

import pytest

from benchbench.leaderboard.chart import EDGE, SPARK_WIDTH, Dot, Line, Panel, sparkline, svg, ticks

SVG = "{http://www.w3.org/2000/svg}"


def panel(
    title="hellaswag acc", dots=((1000, 0.25, 0.2, 0.3), (2000, 0.5, 0.45, 0.55), (4000, 0.75, 0.7, 0.8)), **more
):
    line = Line("csmpt", tuple(Dot(*dot) for dot in dots))
    return Panel(title, (line,), **more)


def drawn(*panels, **options):
    return ET.fromstring(svg(panels, **options))


def test_a_line_goes_through_its_dots_in_proportion():
    picture = drawn(panel())
    (line,) = picture.iter(f"{SVG}polyline")
    places = [tuple(map(float, place.split(","))) for place in line.get("points").split()]
    (x0, y0), (x1, y1), (x2, y2) = places
    assert (x1 - x0) * 2 == pytest.approx(x2 - x1, abs=0.3)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.3)
    assert y0 > y1, "higher values are higher up"
    circles = [(float(c.get("cx")), float(c.get("cy"))) for c in picture.iter(f"{SVG}circle")]
    assert circles == places


def test_the_band_is_the_interval_and_a_reference_is_a_named_line():
    picture = drawn(panel(reference=0.25))
    (band,) = picture.iter(f"{SVG}polygon")
    assert len(band.get("points").split()) == 6
    assert "chance" in {text.text for text in picture.iter(f"{SVG}text")}
    assert [line.get("stroke-dasharray") for line in picture.iter(f"{SVG}line")].count("4 3") == 1


def test_series_differ_by_shape_and_are_named():
    lines = tuple(Line(name, (Dot(1, 1), Dot(2, 2))) for name in ("cs", "fr", "en"))
    picture = drawn(Panel("t", lines))
    assert {"cs", "fr", "en"} <= {text.text for text in picture.iter(f"{SVG}text")}
    assert list(picture.iter(f"{SVG}circle"))
    assert list(picture.iter(f"{SVG}rect"))
    assert any((rect.get("transform") or "").startswith("rotate(45") for rect in picture.iter(f"{SVG}rect"))


def test_panels_stand_in_columns():
    picture = drawn(panel("a"), panel("b"), panel("c"), columns=2)
    assert (picture.get("width"), picture.get("height")) == ("720", "460")
    assert [group.get("transform") for group in picture.iter(f"{SVG}g")] == [
        *("translate(0 0)", "translate(360 0)", "translate(0 230)")
    ]


def test_one_dot_no_dot_and_a_flat_line_are_drawn():
    for dots in ([(5, 0.5)], [], [(1, 0.5), (2, 0.5)], [(1, 0.0), (2, 0.0)]):
        picture = svg([panel(dots=dots)])
        assert "nan" not in picture
        ET.fromstring(picture)
    assert "no value yet" in svg([panel(dots=[])])


def test_names_are_text_and_nothing_needs_a_style_or_a_script():
    evil = "<script>alert(1)</script>&\x1b[2J\u202e"
    text = svg(
        [Panel(evil, (Line(evil, (Dot(1, 2, 1, 3),)),), note=evil, x_label=evil, reference=1, reference_name=evil)]
    )
    ET.fromstring(text)
    assert "<script" not in text
    assert "style=" not in text
    assert not set(text) & {"\x1b", "\u202e"}
    assert "&lt;script&gt;" in text


@pytest.mark.parametrize("ends", [(0.1, 0.9), (0, 26500), (-3, 2), (88.1, 88.2), (1e9, 4e9)])
def test_ticks_are_few_round_and_inside(ends):
    found = ticks(*ends)
    assert 2 <= len(found) <= 7
    assert all(ends[0] <= tick <= ends[1] for tick in found)


def test_a_sparkline_has_the_form_of_its_curve_and_the_level_of_chance():
    rising = Panel("t", (Line("a", (Dot(0, 0.2), Dot(50, 0.3), Dot(100, 0.4))),), reference=0.25)
    drawn = ET.fromstring(sparkline(rising))
    (line,) = drawn.iter("polyline")
    points = [tuple(map(float, pair.split(","))) for pair in line.get("points").split()]
    assert [x for x, _ in points] == [EDGE, SPARK_WIDTH / 2, SPARK_WIDTH - EDGE]
    assert points[0][1] > points[1][1] > points[2][1], "up is better, and y counts downwards"
    (level,) = drawn.iter("line")
    assert points[1][1] < float(level.get("y1")) < points[0][1]
    assert len(list(drawn.iter("circle"))) == 1


@pytest.mark.parametrize("dots", [(), (Dot(5, 0.3),), (Dot(5, 0.3), Dot(6, 0.3))])
def test_a_sparkline_of_little_is_drawn_too(dots):
    found = sparkline(Panel("t", (Line("a", dots),)))
    assert (found == "") == (dots == ())
    assert "nan" not in found
