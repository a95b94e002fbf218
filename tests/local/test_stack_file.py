from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from local.stack_file import StackFile, StackFileError, is_encrypted

TOKEN = "a-token-that-nobody-may-see"


def read(folder: Path, text: str) -> StackFile:
    file = folder / "Pulumi.prod.yaml"
    file.write_text(text)
    return StackFile.read(file)


def failure(folder: Path, text: str) -> str:
    with pytest.raises(StackFileError) as caught:
        read(folder, text)
    return str(caught.value)


@pytest.mark.parametrize("text", ["", "# nothing\n", "config:\n", "encryptionsalt: v1:AAAA\n"])
def test_a_file_without_configuration_is_one(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text).config == {}


@pytest.mark.parametrize("text", ["- a list", "config: text", "config: [a]"])
def test_a_file_of_another_shape_is_told(tmp_path: Path, text: str) -> None:
    assert "must be maps" in failure(tmp_path, text)


def test_every_key_that_is_there_twice_is_told_with_its_lines(tmp_path: Path) -> None:
    text = "config:\n  a:b: 1\n  a:c: {d: 1, d: 2}\n  a:b: 2\n  a:list: [{e: 1, e: 1}]\nconfig: {}\n"
    lines = failure(tmp_path, text).splitlines()[1:]
    assert [line.strip() for line in lines] == [
        "d: line 3, after line 3",
        "a:b: line 4, after line 2",
        "e: line 5, after line 5",
        "config: line 6, after line 1",
    ]


@pytest.mark.parametrize(
    "value",
    [f"[{TOKEN}", f"*{TOKEN}", f'"{TOKEN}', f"{TOKEN}: x", f"@{TOKEN}", f"%{TOKEN}", f"|{TOKEN}", f"{TOKEN}\t\x07"],
)
def test_what_is_no_yaml_is_told_with_its_place_and_without_a_value(tmp_path: Path, value: str) -> None:
    message = failure(tmp_path, f"config:\n  shop:apiToken: {value}\n")
    assert message.startswith("Pulumi.prod.yaml") and "not valid YAML" in message
    assert TOKEN not in message


def test_a_tag_of_one_s_own_is_passed_on(tmp_path: Path) -> None:
    file = read(tmp_path, f"config:\n  shop:apiToken: !{TOKEN} x\n")
    assert f"!{TOKEN} 'x'" in file.text(file.config, {}) or f"!{TOKEN} x" in file.text(file.config, {})


def test_values_are_copied_as_they_are_written(tmp_path: Path) -> None:
    # A parser of YAML 1.1 makes true, 750 and a float of the first three, which the engine reads as text and a number.
    written = {
        "yes": "yes",
        "time": "12:30",
        "power": "1e3",
        "hex": "0x200",
        "text": '"512"',
        "none": "",
        "date": "2030-01-01",
    }
    file = read(tmp_path, "config:\n" + "".join(f"  shop:{name}: {value}\n" for name, value in written.items()))
    copy = file.text({**file.config, "shop:added": 1}, {"encryptionsalt": "v1:BBBB", "secretsprovider": ""})
    read_back = yaml.load(copy, Loader=yaml.BaseLoader)
    assert read_back == {
        "encryptionsalt": "v1:BBBB",
        "config": {**{f"shop:{name}": value.strip('"') for name, value in written.items()}, "shop:added": "1"},
    }
    assert "shop:yes: yes\n" in copy and 'shop:text: "512"\n' in copy and "shop:hex: 0x200\n" in copy


def test_a_value_is_encrypted_when_any_part_of_it_is(tmp_path: Path) -> None:
    text = "config:\n  a: {secure: v1:x}\n  b: {c: [{secure: v1:x}]}\n  d: {secure: v1:x, e: f}\n  g: secure\n"
    config = read(tmp_path, text).config
    assert [name for name, node in config.items() if is_encrypted(node)] == ["a", "b"]
