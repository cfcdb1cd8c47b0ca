"""What the nodes are and have, from words on the command line."""

from pathlib import Path

import pytest
from packaging.version import Version

from data_prep.contract.settings import InputError
from launch.wheelhouse.node import Node, read_node, read_packages

FREEZE = """\
# pip freeze of a node
torch==2.11.0+cu130
Typing_Extensions==4.15.0  # a comment
-e /src/mine
numpy @ file:///wheels/numpy-2.5.2-cp312-cp312-linux_x86_64.whl
pyarrow
"""


def test_a_freeze_names_packages_and_versions(tmp_path: Path) -> None:
    listed = tmp_path / "node.txt"
    listed.write_text(FREEZE)
    assert read_packages([str(listed), "transformers==5.17.0"]) == {
        "torch": Version("2.11.0+cu130"),
        "typing-extensions": Version("4.15.0"),
        "numpy": None,
        "pyarrow": None,
        "transformers": Version("5.17.0"),
    }


def test_platforms_go_down_to_the_oldest() -> None:
    tags = Node("3.12", 18, "x86_64").platforms()
    assert tags[:3] == ["manylinux_2_18_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"]
    assert tags[-3:] == ["manylinux_2_5_x86_64", "manylinux1_x86_64", "linux_x86_64"]


@pytest.mark.parametrize(
    ("python", "platform", "has", "said"),
    [
        ("3.13", "manylinux_2_28_x86_64", [], "3.11 or 3.12"),
        ("3.12", "win_amd64", [], "manylinux_2_28_x86_64"),
        ("3.12", "manylinux_2_28_x86_64", ["torch>=2.11"], "leaves the version open"),
        ("3.12", "manylinux_2_28_x86_64", ["torch==not"], "a name, name==version or file is expected"),
        ("3.12", "manylinux_2_28_x86_64", ["/no/such/file.txt"], "a name, name==version or file is expected"),
    ],
)
def test_what_is_not_to_be_understood_is_one_sentence(
    python: str, platform: str, has: list[str], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        read_node(python, platform, has)


def test_a_file_that_is_no_list(tmp_path: Path) -> None:
    other = tmp_path / "node.txt"
    other.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a text"):
        read_packages([str(other)])
