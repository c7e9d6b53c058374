"""The model card: what it says, that its head is YAML, and other people's text in it."""

import dataclasses

import pytest

from alexnet_jax.insight.model_card import model_card
from alexnet_jax.main import main
from alexnet_jax.runs.run_folder import read_run

RESULTS = {
    1: {"loss": 0.5, "top1_error": 0.25, "top5_error": 0.05},
    10: {"loss": 0.4, "top1_error": 0.2},
}


@pytest.fixture
def trained(run):
    found = read_run(run[0])
    info = {
        "train_images": 1438, "validation_images": 400, "data_fingerprint": "feed" * 16,
        "devices": ["cpu"], "platform": "cpu", "step": 700, "wall_seconds": 130.0,
    }  # fmt: skip
    return found._replace(info=found.info | info)


def test_errors_stand_with_their_spread(trained):
    text = model_card(trained, RESULTS)
    assert "| centre view | 25.0 ± 2.2 | 5.0 | 0.500 |" in text
    assert "| ten views | 20.0 ± 2.0 | – | 0.400 |" in text
    assert "On 400 test images" in text and "1,438 training images" in text
    for section in ("Data", "Recipe", "Limits", "Licence", "Use"):
        assert f"\n## {section}\n" in text


def test_views_are_counted(trained):
    augment = dataclasses.replace(trained.config.augment, mirror=False)
    bare = trained._replace(config=dataclasses.replace(trained.config, augment=augment))
    text = model_card(bare, RESULTS)
    assert "| five crops | 20.0 ± 2.0" in text and "accuracy, five crops" in text
    assert "ten views" not in text


def test_a_set_that_was_named_for_its_source_has_that_name(trained):
    """`--data.source PHOTOS` alone leaves `data.name` empty; an import may have no set at all."""
    data = dataclasses.replace(trained.config.data, name="")
    named = trained._replace(config=dataclasses.replace(trained.config, data=data))
    info = named.info | {"data_path": "/sets/photos-f4b5974f"}
    text = model_card(named._replace(info=info), RESULTS)
    assert " on photos-f4b5974f\n" in text and "\n`photos-f4b5974f`: 1,438 " in text
    assert '"dataset": {"name": "photos-f4b5974f", "type": "photos-f4b5974f"' in text
    text = model_card(named._replace(info=info | {"import": {}}), {})
    assert " on \n" not in text and "\nIts training set: 1,438 " in text


def test_weights_that_were_not_tested_say_so(trained):
    text = model_card(trained, {})
    assert "were not tested here" in text and "model-index" not in text


def test_the_libraries_of_the_format_read_it(trained):
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    data = hub.ModelCard(model_card(trained, RESULTS)).data
    assert data.pipeline_tag == "image-classification" and "alexnet" in data.tags
    found = {(one.metric_name, one.metric_value) for one in data.eval_results}
    assert found == {
        ("top-1 accuracy, centre view", 0.75),
        ("top-5 accuracy, centre view", 0.95),
        ("top-1 accuracy, ten views", 0.8),
    }


def test_the_head_is_yaml(trained):
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    head = yaml.safe_load(model_card(trained, RESULTS).split("---\n")[1])
    assert head["model-index"][0]["results"][0]["dataset"]["split"]


def test_an_export_gets_a_card_and_nothing_is_written_over(run, tmp_path, capsys):
    output = tmp_path / "weights.safetensors"
    words = ["export", "--workdir", str(run[0]), "--output", str(output), "--checkpoint", "last"]
    assert main(words) == 0
    card = tmp_path / "weights.safetensors.md"
    assert str(card) in capsys.readouterr().out and "not tested here" in card.read_text()
    for name in ("weights.safetensors", "weights.config.json"):
        (tmp_path / name).unlink()
    assert main(words) == 0, "an older card is replaced"
    output.unlink()
    card.write_text("mine")
    assert main(words) == 1 and "exists already" in capsys.readouterr().err
    assert card.read_text() == "mine" and not output.exists()


def test_names_of_other_people_are_text(trained):
    evil = ("ant\n---\nlicense: mit", "<script>alert(1)</script>", "| a | [b](c)")
    config = dataclasses.replace(
        trained.config, data=dataclasses.replace(trained.config.data, name="x\n---\ny: [")
    )
    text = model_card(trained._replace(class_names=evil, config=config), RESULTS)
    assert text.count("\n---\n") == 1 and "<script>" not in text and "\nlicense: mit" not in text
    assert "\\[b\\](c)" in text
