from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Literal

import pytest

from wfst_entropy.asr.options import (
    OptionError,
    add_arguments,
    from_args,
    load_config,
    make_parser,
    option,
    save_config,
)


@dataclasses.dataclass
class ToyOptions:
    max_duration: float = option(200.0, "Seconds of audio in a batch; 90% of them are used.")
    use_bf16: bool = option(False, "Compute in bfloat16.")
    encoder: Literal["tdnn", "lstm"] = option("tdnn", "The network.")
    exp_dir: Path = option(Path("exp"), "Where the run is written.")
    cuts: Path | None = option(None, "A cut set.")
    test_parts: tuple[str, ...] = option(("dev-clean-2",), "Parts to decode.")
    num_layers: int = option(4, "Layers.")
    vocab_size: int = option(0, "Found in the lang directory.", flag=False)

    def __post_init__(self) -> None:
        if self.num_layers < 1:
            raise OptionError(f"num_layers: needs at least 1, got {self.num_layers}")


def parse(*argv: str) -> ToyOptions:
    return from_args(make_parser("A toy.", ToyOptions).parse_args(argv), ToyOptions)


def test_defaults_come_from_the_dataclass():
    assert parse() == ToyOptions()


def test_every_kind_of_flag():
    options = parse(
        *["--max-duration", "30", "--use-bf16", "1", "--encoder", "lstm", "--exp-dir", "a/b"],
        *["--cuts", "c.jsonl", "--test-parts", "x", "y", "--num-layers", "2"],
    )
    assert options == ToyOptions(
        30.0, True, "lstm", Path("a/b"), Path("c.jsonl"), ("x", "y"), 2, vocab_size=0
    )
    assert parse("--cuts", "none").cuts is None
    assert parse("--use-bf16", "False").use_bf16 is False


@pytest.mark.parametrize("number", ["-3", "-0.5", "-1e-3", "-2.5E+1", "-5.", "-inf"])
def test_negative_numbers_are_no_flags(number):
    options = parse("--exp-dir", "a", "--max-duration", number, "--test-parts", "x", "y")
    assert (options.max_duration, options.test_parts) == (float(number), ("x", "y"))
    assert parse("--exp-dir", "-1,16").exp_dir == Path("-1,16")


def test_values_that_are_not_flags_are_given_by_the_caller(capsys):
    parser = make_parser("A toy.", ToyOptions)
    assert from_args(parser.parse_args([]), ToyOptions, vocab_size=29).vocab_size == 29
    with pytest.raises(SystemExit):
        parser.parse_args(["--vocab-size", "3"])
    assert "--vocab-size" in capsys.readouterr().err


def test_help_shows_text_units_and_defaults():
    text = make_parser("A toy.", ToyOptions).format_help()
    assert "90% of them" in text and "(default: 200.0)" in text and "--max-duration" in text


@pytest.mark.parametrize(
    ("argv", "wording"),
    [
        (["--use-bf16", "maybe"], "expected true or false"),
        (["--encoder", "rnn"], "choose from"),
        (["--num-layers", "two"], "invalid int value: 'two'"),
        (["--max-dur", "3"], "unrecognized arguments: --max-dur"),
    ],
)
def test_bad_flags_are_named(argv, wording, capsys):
    with pytest.raises(SystemExit):
        parse(*argv)
    assert wording in capsys.readouterr().err


def test_the_class_may_refuse_a_value():
    with pytest.raises(OptionError, match="num_layers: needs at least 1, got 0"):
        parse("--num-layers", "0")


def test_a_flag_of_two_classes_is_an_error():
    @dataclasses.dataclass
    class OtherOptions:
        encoder: str = option("x", "Clashes.")

    OtherOptions.__annotations__["encoder"] = str
    with pytest.raises(OptionError, match="the flag --encoder is taken"):
        add_arguments(make_parser("A toy.", ToyOptions), OtherOptions)


def test_a_type_that_cannot_be_a_flag_is_an_error():
    Odd = dataclasses.make_dataclass("OddOptions", [("table", dict, option(None, "No."))])
    with pytest.raises(OptionError, match=r"OddOptions.table: the type .*dict"):
        add_arguments(argparse.ArgumentParser(), Odd)


def test_config_round_trip(tmp_path):
    options = ToyOptions(1e-5, True, "lstm", Path("a"), Path("b"), ("x", "y"), 7, 500)
    save_config(tmp_path / "config.yaml", options)
    assert load_config(tmp_path / "config.yaml", ToyOptions) == (options,)
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_missing_keys_take_their_default_and_other_sections_are_left_alone(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("toy:\n  max_duration: 1e-3\nother:\n  a: 1\n")
    assert load_config(path, ToyOptions) == (ToyOptions(max_duration=1e-3),)


@pytest.mark.parametrize(
    ("text", "wording"),
    [
        (
            "toy:\n  max_durration: 3\n  b: 1\n",
            r"key\(s\) max_durration, b in section 'toy:'",
        ),
        ("toy:\n  max_duration: many\n", "toy.max_duration: needs float, got 'many'"),
        ("toy:\n  num_layers: true\n", "toy.num_layers: needs int, got True"),
        ("toy:\n  encoder: rnn\n", "needs one of"),
        ("toy:\n  num_layers: 0\n", "section 'toy:': num_layers: needs at least 1"),
        ("model: {}\n", "has no section 'toy:'; it has"),
        ("toy: [\n", "cannot be read as YAML"),
        ("toy:\n  a: 1\n  a: 2\n", r"config.yaml:3: 'a' is given twice, line 2 has it too"),
        ("", "needs sections such as"),
    ],
)
def test_bad_config_files_are_explained(tmp_path, text, wording):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(OptionError, match=wording) as error:
        load_config(path, ToyOptions)
    assert "config.yaml" in str(error.value)


def test_no_config_file(tmp_path):
    with pytest.raises(OptionError, match=r"config.yaml: cannot be read"):
        load_config(tmp_path / "config.yaml", ToyOptions)
