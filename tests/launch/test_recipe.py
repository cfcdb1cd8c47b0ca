"""Recipes: what is right is read, what is wrong is one sentence with the file, the key and a way out."""

from pathlib import Path

import pytest

from data_prep.contract.settings import InputError
from launch import recipe

RECIPES = sorted(Path(recipe.__file__).parent.glob("recipes/*.yaml"))
GOOD = "name: mine\nmodel: {layers: 2, hidden_size: 64, heads: 4}\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_are_valid(path: Path) -> None:
    overrides = ["corpus.paths=[x]"] if path.stem == "web" else []
    assert recipe.load(path, overrides).name == path.stem


def test_overrides_lie_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    loaded = recipe.load(path, ["train.steps=7", "train.learning_rate=1e-4", "eval.shots=[0, 2]"])
    assert (loaded.train.steps, loaded.train.learning_rate, loaded.eval.shots) == (7, 1e-4, [0, 2])
    assert loaded.model.layers == 2


def test_paths_are_relative_to_the_recipe_or_to_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, GOOD + "corpus: {kind: text, paths: [a.txt, 's3://b/c.txt']}\n")
    monkeypatch.chdir("/")
    assert recipe.load(path).corpus.paths == [str(tmp_path / "a.txt"), "s3://b/c.txt"]
    assert recipe.load(path, ["corpus.paths=[d.txt]"]).corpus.paths == ["/d.txt"]


@pytest.mark.parametrize(
    ("text", "overrides", "said"),
    [
        (GOOD + "trian: {steps: 3}\n", [], "trian: no such key; did you mean train?"),
        (GOOD, ["model.layerz=3"], "model.layerz: no such key; did you mean model.layers?"),
        (GOOD, ["train.steps=many"], "train.steps is 'many'; it should be a valid integer"),
        (GOOD, ["train.steps=0"], "train.steps is 0; it should be greater than 0"),
        (GOOD, ["corpus.kind=pdf"], "corpus.kind is 'pdf'; it should be "),
        (GOOD, ["parallel.tensor=3"], "model.heads 4 is not divisible by parallel.tensor 3"),
        (GOOD, ["parallel.pipeline=4"], "model.layers 2 is fewer than parallel.pipeline 4"),
        (GOOD, ["parallel.pipeline=2", "parallel.zero_stage=3"], "zero_stage 3 does not go with pipeline"),
        (GOOD, ["model.heads=3"], "hidden_size 64 is not divisible by heads 3"),
        (GOOD, ["train"], "--set train: key=value is expected"),
        (GOOD, ["train.steps=[1"], "not a YAML value"),
        ("model: [1\n", [], "not YAML at line 2"),
        ("- a\n", [], "a recipe is a mapping"),
        ("name: !!python/object/apply:os.system [true]\n", [], "not YAML at line 1"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, text: str, overrides: list[str], said: str) -> None:
    with pytest.raises(InputError) as caught:
        recipe.load(written(tmp_path, text), overrides)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "mine.yaml" in str(caught.value) or "--set" in str(caught.value)


def test_a_key_with_a_new_name_is_taken_under_the_old_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = written(tmp_path, GOOD.replace("heads: 4", "heads: 4, query_groups: 2") + "train: {clip: 0.5}\n")
    found = recipe.load(old, ["tune.clip=0.25"])
    said = capsys.readouterr().err.splitlines()
    assert (found.model.key_value_heads, found.train.clip_gradient_norm, found.tune.clip_gradient_norm) == (
        2,
        0.5,
        0.25,
    )
    assert sorted(line.partition(": ")[2] for line in said) == [
        "model.query_groups is called model.key_value_heads now",
        "train.clip is called train.clip_gradient_norm now",
        "tune.clip is called tune.clip_gradient_norm now",
    ]
    new = written(tmp_path, GOOD.replace("heads: 4", "heads: 4, key_value_heads: 2"))
    assert recipe.load(new).model.identity() == found.model.identity(), "runs of before are still theirs"
    assert capsys.readouterr().err == ""
    with pytest.raises(InputError, match="clip is called clip_gradient_norm now; give it once"):
        recipe.load(new, ["train.clip=1", "train.clip_gradient_norm=1"])


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        recipe.load(tmp_path / "none.yaml")


def test_layout_and_logging_do_not_change_identity(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    plain = recipe.load(path).train.identity()
    assert recipe.load(path, ["train.micro_batch=2", "train.log_every=1"]).train.identity() == plain
    assert recipe.load(path, ["train.steps=2"]).train.identity() != plain


def test_the_quickstarts_are_of_one_dataset() -> None:
    """So that whichever runs first prepares it for all of them."""
    recipes = {path.stem: recipe.load(path) for path in RECIPES if path.stem.startswith("quickstart")}
    assert {name: one.model.architecture for name, one in recipes.items()} == {
        "quickstart": "decoder",
        "quickstart-bert": "encoder",
        "quickstart-t5": "encoder_decoder",
    }
    first, *others = [(one.corpus, one.tokenizer, one.seed) for one in recipes.values()]
    assert others == 2 * [first]
