import json
from pathlib import Path

import pytest

from unblur.errors import FileError, OptionError
from unblur.lab import recipe as recipes

TEXT = """
about = "a test"
net = { name = "unet16" }
data = { set = "cifar10", split = "40k/10k" }
blur = { names = ["cifar-u03-u8"], drawn = "once" }
batch = { size = 32 }
loss = { mae = 1 }
optimiser = { kind = "adam", rate = 1e-3 }
schedule = { kind = "plateau", factor = 0.2, patience = 4 }
stop = { epochs = 5 }
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "some").mkdir()
    path = tmp_path / "some" / "protocol.toml"
    path.write_text(TEXT)
    return path


def test_a_recipe_is_read_and_frozen(path: Path) -> None:
    recipe = recipes.load(path)
    assert recipe.optimiser.rate == 1e-3
    assert recipe.loss.terms == {"mae": 1.0}
    assert recipe.schedule.kind == "plateau"
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 3  # type: ignore[misc]


def test_overrides_are_toml_values_or_bare_words(path: Path) -> None:
    recipe = recipes.load(
        path,
        [
            "batch.size=64",
            "optimiser.kind=sgd",
            'blur.names=["reds-k3", "reds-k7"]',
            "net.options.final_activation = 'sigmoid'",
            "data.root=/some/where",
            "clip.value=0.5",
        ],
    )
    assert recipe.batch.size == 64
    assert recipe.optimiser.kind == "sgd"
    assert recipe.blur is not None
    assert recipe.blur.names == ("reds-k3", "reds-k7")
    assert recipe.net.options == {"final_activation": "sigmoid"}
    assert recipe.data.root == Path("/some/where")
    assert recipe.clip.value == 0.5


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ("optimiser.rat=1", "unknown key optimiser.rat; did you mean optimiser.rate?"),
        ("optimser.rate=1", "unknown key optimser; did you mean optimiser?"),
        ("data.splt='x'", "unknown key data.splt; did you mean data.split?"),
        ("schedule.factr=1", "unknown key schedule.factr; did you mean schedule.factor?"),
        ("net.name=unet17", "no network is called 'unet17'; did you mean unet16"),
        ("blur.names=['cifar-u03']", "did you mean 'cifar-u03-"),
        ("batch.size=0", "batch.size: Input should be greater than or equal to 1"),
        ("batch.size", "write section.key=value"),
        ("seed.x=1", "seed: Input should be a valid integer"),
        ("about.x=1", "about is no section"),
        ("loss.mae=0", "a loss needs a weight"),
        ("batch.unpaired=true", "only adversarial training"),
        ("data.set=folder", "unknown key data.split"),
    ],
)
def test_mistakes_are_named(path: Path, override: str, word: str) -> None:
    with pytest.raises(OptionError) as caught:
        recipes.load(path, [override])
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value) or "=" not in override or "section" in word


@pytest.mark.parametrize("set_", ["folder", "gopro"])
def test_best_weights_and_plateaus_need_validation(path: Path, set_: str) -> None:
    bare = TEXT.replace('set = "cifar10", split = "40k/10k"', f'set = "{set_}", validation = 0')
    path.write_text(bare)
    with pytest.raises(OptionError, match="without validation"):
        recipes.load(path)
    fine = recipes.load(path, ["schedule={kind='constant'}", "stop.keep=final"])
    assert not fine.held_out


def test_drawn_once_does_not_go_with_random_crops(path: Path) -> None:
    path.write_text(TEXT.replace('set = "cifar10", split = "40k/10k"', 'set = "folder"'))
    with pytest.raises(OptionError, match="random crops are blurred anew"):
        recipes.load(path, ["data.crop=[32, 32]"])
    assert recipes.load(path, ["data.crop=[32, 32]", "blur.drawn=anew"]).data.crop == (32, 32)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="No such file"):
        recipes.load(tmp_path / "no.toml")
    (tmp_path / "bad.toml").write_text("a = [")
    with pytest.raises(FileError, match="not a recipe"):
        recipes.load(tmp_path / "bad.toml")


def test_recipes_are_found_by_path_and_by_name(path: Path) -> None:
    folder = path.parent.parent
    assert recipes.find(str(path), folder) == path
    assert recipes.find("some/protocol", folder) == path
    with pytest.raises(FileError, match="did you mean some/protocol"):
        recipes.find("some/protocl", folder)


def test_a_resolved_recipe_reads_back(path: Path) -> None:
    recipe = recipes.load(path)
    saved = json.loads(json.dumps(recipe.model_dump(mode="json")))
    assert recipes.parse(saved) == recipe
    (path.parent / "recipe.json").write_text(json.dumps({"recipe": saved, "seed": 0}))
    assert recipes.load(path.parent / "recipe.json") == recipe


def test_changes_leave_out_what_may_change(path: Path) -> None:
    old = recipes.load(path)
    assert recipes.changes(old, recipes.load(path, ["stop.epochs=9", "run.log_every=3", "data.root=b"])) == []
    assert recipes.changes(old, recipes.load(path, ["batch.size=9", "clip.value=1"])) == [
        "batch.size",
        "clip.value",
    ]
