"""The scripts of graphs/: what they make of the toy, and that the gallery in docs is theirs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from wfst_entropy import LangDir, load_fsa

ROOT = Path(__file__).parents[2]
GALLERY = ROOT / "docs/gallery"


def script(name, *options, status=0):
    done = subprocess.run(
        [ROOT / "graphs" / name, *options, "--python", sys.executable],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """The folder that build.sh fills, and what it said."""
    pytest.importorskip("kaldifst")
    folder = tmp_path_factory.mktemp("toy")
    return folder, script("build.sh", "--out-dir", folder)


@pytest.mark.slow
def test_build_makes_graphs_that_hear_the_planted_sentence(toy):
    folder, said = toy
    # LG with the topology implied, HLG of the standard and of the modified topology.
    assert re.findall("^planted .*", said, re.M) == 3 * ["planted see sea seat"]
    lang = LangDir(folder / "lang")
    modified = load_fsa(folder / "lang/HLG_modified.pt")
    assert lang.vocab_size == 4 and 4 in modified.labels and 4 not in lang.LG.labels
    assert lang.LG.num_arcs < modified.num_arcs < lang.HLG.num_arcs


@pytest.mark.slow
def test_frame_scores_are_decoded_without_the_packages_of_recipes(toy):
    folder, _ = toy
    absent = ["kaldialign", "lhotse", "matplotlib", "safetensors", "sentencepiece", "soundfile"]
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({[*absent, 'yaml']}))\n"
        "from wfst_entropy.cli.main import app; app()"
    )
    options = ("--lang-dir", folder / "lang", "--graph", folder / "lang/HLG.pt")
    done = subprocess.run(
        [sys.executable, "-c", program, "decode", folder / "planted.npy", *options],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.stdout == "planted see sea seat\n", done.stderr


@pytest.mark.slow
def test_build_skips_what_is_newer_than_its_inputs(toy):
    folder, _ = toy
    made = {path: path.stat().st_mtime_ns for path in (folder / "lang").glob("*.pt")}
    said = script("build.sh", "--out-dir", folder, "--stage", "1", "--stop-stage", "3")
    assert said.count("skipping: ") == 4
    assert made == {path: path.stat().st_mtime_ns for path in (folder / "lang").glob("*.pt")}


@pytest.mark.slow
def test_inspect_names_the_missing_word(toy):
    folder, _ = toy
    said = script("inspect.sh", "--out-dir", folder, "--stop-stage", "2")
    assert said.count("nothing to complain about") == 6
    assert re.search("s iy s iy s iy t +see sea seat", said)
    assert "puts out 'UNHEARD-OF' (id 7)" in said
    assert "equal: every string weighs the same" in said


@pytest.mark.slow
def test_inspect_looks_into_the_lattice(toy):
    folder, _ = toy
    said = script("inspect.sh", "--out-dir", folder, "--stage", "3", "--stop-stage", "3")
    assert re.search("planted\t1\t.*\tsee sea seat", said)


@pytest.mark.slow
def test_the_gallery_in_docs_is_what_the_script_draws(toy, tmp_path):
    folder, _ = toy
    script("gallery.sh", "--toy-dir", folder, "--out-dir", tmp_path)
    drawn = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    shown = {path.name: path.read_bytes() for path in GALLERY.iterdir()}
    different = [name for name in drawn | shown if drawn.get(name) != shown.get(name)]
    assert not different, (
        f"{different} are not as graphs/gallery.sh draws them; after a change on purpose: "
        "graphs/build.sh && graphs/gallery.sh --out-dir docs/gallery"
    )


def test_the_page_of_the_gallery_shows_every_picture():
    page = (GALLERY / "README.md").read_text()
    linked = re.findall(r"!\[[^]]+\]\(([^)]+)\)", page)
    assert sorted(linked) == sorted(path.name for path in GALLERY.glob("*.svg"))
    assert all(ElementTree.parse(GALLERY / name).getroot().tag.endswith("svg") for name in linked)
    assert page.count("```sh") == len(linked)
    assert sum(path.stat().st_size for path in GALLERY.iterdir()) < 300_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--material", "librispeech"), "give LibriSpeech's librispeech-lexicon.txt as --lexicon"),
        (("--material", "timit"), "--material must be toy, mini or librispeech, got 'timit'"),
    ],
)
def test_what_build_refuses(tmp_path, options, message):
    assert message in script("build.sh", "--out-dir", tmp_path / "out", *options, status=1)
    assert not (tmp_path / "out").exists()


def test_inspect_says_what_makes_its_graphs(tmp_path):
    said = script("inspect.sh", "--out-dir", tmp_path, status=1)
    assert "make it with: " in said and "build.sh --material toy" in said
