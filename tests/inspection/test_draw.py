"""Pictures: what is in them, where things are, and what is refused."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ElementTree

import pytest
import torch

import wfst_entropy.inspection.layout as layout_module
from wfst_entropy import Fsa, FsaError, RaggedTensor, ctc_topo, draw, linear_fsa
from wfst_entropy.fsa import CyclicFsaError, EmptyGraphError, FsaTypeError, FsaValueError

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return [element.text for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def edges(svg: str) -> list[tuple[str, str, str]]:
    """Source, destination and arcs of each line."""
    return [
        (group.get("data-source"), group.get("data-destination"), group.get("data-arcs"))
        for group in ElementTree.fromstring(svg).iter(f"{SVG}g")
        if group.get("class") == "edge"
    ]


def test_every_arc_has_its_text_once_and_every_state_its_circle(lattice):
    svg = draw(lattice, title="A <title> & more").svg()
    assert sorted(t for t in texts(svg) if "/" in t) == sorted(
        ["the/-0.1", "<b>&\"'</script>/-3", "cat/-0.25", "mat/-2", "sat/-0.5"]
    )
    assert sorted(t for t in texts(svg) if t.isdigit()) == list("01234")
    assert "A <title> & more" in texts(svg)
    assert sorted(edges(svg)) == [
        ("0", "1", "0 1"), ("1", "2", "2"), ("1", "3", "3"), ("2", "3", "4"), ("3", "4", "5"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["lattice", "bigram"])
def test_nothing_covers_anything(name, request):
    picture = draw(request.getfixturevalue(name)).picture()
    for a, b in itertools.combinations(picture.states, 2):
        assert (a.x - b.x) ** 2 + (a.y - b.y) ** 2 > (a.radius + b.radius) ** 2
    boxes = []
    for edge in picture.edges:
        for text in edge.texts:
            width = 5 * len(text.text)  # narrower than drawn; the layout reserves more
            left = text.x - width / 2 if text.anchor == "middle" else text.x
            boxes.append((left, text.y - 10, left + width, text.y))
    for (l1, t1, r1, b1), (l2, t2, r2, b2) in itertools.combinations(boxes, 2):
        assert r1 <= l2 or r2 <= l1 or b1 <= t2 or b2 <= t1
    for left, top, right, bottom in boxes:
        assert left >= 0 and top >= 0 and right <= picture.width and bottom <= picture.height


def test_an_acyclic_graph_is_drawn_from_left_to_right(lattice):
    picture = draw(lattice).picture()
    x = {state.number: state.x for state in picture.states}
    assert all(x[edge.source] < x[edge.destination] for edge in picture.edges)
    bigram_end = max(state.x for state in picture.states)
    assert bigram_end == x[4]


def test_colours_follow_posteriors(lattice):
    # Paths: 0-1-2-3 and 0-1-3; through 2 with probability 1 / (1 + exp(-2 + 0.75)).
    picture = draw(lattice).picture()
    strength = {(e.source, e.destination): e.strength for e in picture.edges}
    upper = 1 / (1 + torch.tensor(-1.25).exp())
    assert strength[1, 2] == pytest.approx(float(upper), abs=1e-4)
    assert strength[1, 3] == pytest.approx(1 - float(upper), abs=1e-4)
    assert strength[0, 1] == pytest.approx(1.0)
    by_score = draw(lattice, color="score").picture()
    assert {e.strength for e in by_score.edges if e.source == 3} == {1.0}
    assert not draw(lattice, color="none").picture().is_weighted
    assert not draw(ctc_topo(2)).picture().is_weighted  # all paths alike: nothing to show


def test_a_total_that_is_not_finite_has_no_posteriors():
    endless = Fsa.from_str("0 0 1 0.5\n0 1 -1 0\n1", acceptor=True)
    assert not draw(endless).picture().is_weighted
    with pytest.raises(CyclicFsaError):
        draw(endless, color="posterior")


def test_a_neighbourhood_marks_what_is_cut_off():
    fsa = linear_fsa([1, 2, 3, 4, 5])
    picture = draw(fsa, around=2, radius=1).picture()
    assert [(s.number, s.is_cut) for s in picture.states] == [(1, True), (2, False), (3, True)]
    assert not any(state.is_start or state.is_final for state in picture.states)
    assert [e.arcs for e in picture.edges] == [(1,), (2,)]
    by_label = draw(fsa, around="4", radius=0).picture()
    assert [state.number for state in by_label.states] == [3, 4]


def test_a_neighbourhood_of_a_symbol_looks_at_both_sides(lattice):
    fst = lattice.clone().set_attribute_("aux_labels_sym", lattice.labels_sym)
    fst.set_attribute_("aux_labels", RaggedTensor.from_lists([[], [], [3, 4], [], [], []]))
    assert [s.number for s in draw(fst, around="cat", radius=0).picture().states] == [1, 2]
    assert [s.number for s in draw(fst, around="mat", radius=0).picture().states] == [1, 2, 3]
    assert "cat:sat mat/-0.25" in texts(draw(fst).svg())


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"max_states": 3}, FsaValueError, r"5 states and 6 arcs .*around=a state or a symbol"),
        ({"around": 1, "max_states": 2}, FsaValueError, "smaller radius"),
        ({"around": 9}, FsaValueError, "states 0 to 4"),
        ({"around": "dog"}, FsaValueError, "no arc has the label 'dog'"),
        ({"color": "red"}, FsaValueError, "auto, posterior, score, none"),
        ({"path": "x.jpeg"}, FsaValueError, r"\.svg, \.png, \.pdf, \.dot or \.html"),
    ],
)
def test_what_is_refused_says_why(lattice, arguments, error, words):
    with pytest.raises(error, match=words):
        draw(lattice, **arguments)


def test_vectors_and_empty_graphs_are_refused(lattice):
    with pytest.raises(FsaTypeError, match=r"draw\(fsa\[i\]\)"):
        draw(Fsa.from_fsas([lattice]))
    with pytest.raises(EmptyGraphError, match="no states"):
        draw(Fsa.from_str(""))


@pytest.mark.parametrize(
    ("kind", "begin"),
    [(".svg", b"<svg "), (".dot", b"digraph"), (".html", b"<!DOCTYPE html>"), (".png", b"\x89PNG"),
     (".pdf", b"%PDF")],
)  # fmt: skip
def test_files_of_each_kind(lattice, tmp_path, kind, begin):
    if kind in (".png", ".pdf"):
        pytest.importorskip("matplotlib")
    draw(lattice, tmp_path / f"graph{kind}", title="$ not mathematics $")
    data = (tmp_path / f"graph{kind}").read_bytes()
    assert data.startswith(begin) and len(data) > 500


def test_a_missing_matplotlib_is_named(lattice, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(FsaError, match=r"pip install\s+matplotlib"):
        draw(lattice, tmp_path / "graph.png")


def test_dot_text_has_every_arc(lattice):
    dot = draw(lattice).dot()
    assert len(re.findall(r"\d+ -> \d+ \[", dot)) == lattice.num_arcs
    assert r'label="<b>&\"' in dot
    assert re.search(r"3 -> 4 \[label=\"\", style=dashed", dot)


def test_notebooks_show_one_graph_and_fall_back_otherwise(lattice):
    assert lattice._repr_svg_().startswith("<svg ")
    assert Fsa.from_fsas([lattice])._repr_svg_() is None
    assert Fsa.from_str("")._repr_svg_() is None
    assert linear_fsa(list(range(1, 1000)))._repr_svg_() is None


def test_many_parallel_arcs_are_counted():
    arcs = "".join(f"0 1 {label} {-label / 10}\n" for label in range(1, 21))
    shown = texts(draw(Fsa.from_str(arcs + "1 2 -1 0\n2", acceptor=True)).svg())
    assert "+ 15 more" in shown and "1/-0.1" in shown and "20/-2" not in shown


@pytest.mark.parametrize(
    ("values", "closest"),
    [([3.0, 1.0, 5.0], [2, 2, 5]), ([1.0, 2.0], [1, 2]), ([3.0, 2.0, 1.0], [2, 2, 2])],
)
def test_closest_ascending_is_a_projection(values, closest):
    assert layout_module._closest_ascending(values, [1.0] * len(values)) == closest


def test_crossings_are_counted_as_pairs():
    boxes = [layout_module.Box(1, 1, 1, layer=i // 3) for i in range(6)]
    for a, b in ((0, 5), (1, 4), (2, 3), (0, 3)):
        layout_module._link(boxes, a, b)
    lines = [(0, 2), (1, 1), (2, 0), (0, 0)]
    pairs = itertools.combinations(lines, 2)
    expected = sum((a[0] - b[0]) * (a[1] - b[1]) < 0 for a, b in pairs)
    assert layout_module._crossings(boxes, [[0, 1, 2], [3, 4, 5]]) == expected
