"""p-values against held-out images: what they promise, that they survive a file, and what is served of them."""

import csv
import json

import keras
import numpy as np
import pytest
from PIL import Image
from scipy import stats

from tfflows import Flow, data, layers, zoo
from tfflows.cli import main
from tfflows.errors import CorruptError, InputError
from tfflows.evaluation import calibration, scores, verdicts

NUM_VALUES = 16


def images(n, seed):
    """[n, 1, 1, 1], whose score under the flow below is almost a function of the one pixel."""
    return np.random.RandomState(seed).binomial(NUM_VALUES - 1, 0.5, (n, 1, 1, 1)).astype("uint8")


@pytest.fixture(scope="module")
def flow():
    return Flow(layers.Rescale(NUM_VALUES), (1, 1, 1), NUM_VALUES)


def test_a_p_value_is_the_share_of_held_out_images_that_are_at_least_as_strange(flow):
    held_out, new = images(199, 0), images(50, 1)
    calibrated = scores.calibrate(flow, held_out)
    # Rounded, so that the equal images of which these have many are as strange as each other.
    of_held_out, of_new = (np.round(scores.bits_per_dim(flow, each), 6) for each in (held_out, new))
    by_hand = np.array([(1 + np.sum(of_held_out >= s)) / 200 for s in of_new])
    np.testing.assert_array_equal(calibrated.p_value(new), by_hand)
    for rate in (0.005, 0.05, 0.3):  # 0.005 is the smallest that 199 images can tell
        np.testing.assert_array_equal(calibrated.is_anomaly(new, rate), by_hand <= rate)
        np.testing.assert_array_equal(of_new > calibrated.threshold(rate), by_hand <= rate)


def test_an_image_that_is_often_held_out_is_no_alarm(flow):
    """Whichever way its score is rounded."""
    for value in range(NUM_VALUES):
        seen = np.full((40, 1, 1, 1), value, "uint8")
        calibrated = scores.calibrate(flow, np.concatenate([images(60, 0), seen]))
        assert calibrated.p_value(seen[:1]) >= 41 / 101, value
    infinite = calibration.Calibration(flow, "bits_per_dim", {}, np.array([3.0, calibration.LARGEST]))
    np.testing.assert_array_equal(infinite.p_value_of_scores([np.inf, np.nan]), [2 / 3, 1 / 3])


def test_a_score_of_nan_is_the_strangest_everywhere(tmp_path, flow):
    names = ["digit", "broken", "ni\udcf1o"]  # of which the last is Latin-1, as os.fsdecode has it
    found = verdicts.Verdicts(names, np.array([9.0, np.nan, 8.0]), np.ones(3), np.ones(3, bool), 0.5, "s", 9)
    assert scores.calibrate(flow, images(199, 0)).p_value_of_scores(np.nan) == 1 / 200
    table, page = (path.read_text("utf-8") for path in verdicts.write(found, images(3, 0), tmp_path, "title"))
    assert page.index('alt="broken"') < page.index('alt="digit"') < page.index('alt="ni\\udcf1o"')
    assert [row.partition(",")[0] for row in table.splitlines()[1:]] == ["digit", "broken", r"ni\udcf1o"]


@pytest.mark.backend_free
def test_the_share_of_false_alarms_is_the_rate_whatever_the_score(flow):
    """1,000 held-out sets of 99 images, one new image each: 50 false alarms at 5 %, within binomial error."""
    pool, new = images(99_000, 2), images(1000, 3)
    for score in ("bits_per_dim", "typicality"):
        options = {"entropy": 4.0} if score == "typicality" else {}
        held_out = scores.SCORES[score](flow, pool, **options, batch_size=99_000).reshape(1000, 99)
        each = [calibration.Calibration(flow, score, options, np.sort(one)) for one in held_out]
        of_new = scores.SCORES[score](flow, new, **options, batch_size=1000)
        alarms = sum(c.p_value_of_scores(s) <= 0.05 for c, s in zip(each, of_new, strict=True))
        low, high = stats.binom(1000, 0.05).interval(0.999)
        assert low <= alarms <= high, score
    low, high = verdicts.expected_alarms(10_000, 10_000, 0.01)
    assert (low, high) == pytest.approx((73, 129), abs=3)  # twice the binomial variance


@pytest.mark.backend_free
def test_a_calibration_survives_its_file_and_a_damaged_file_is_refused(flow, tmp_path):
    new = images(20, 5)
    for score in scores.SCORES:
        calibrated = scores.calibrate(flow, images(40, 4), score)
        calibrated.save(tmp_path / "c.json")
        loaded = calibration.Calibration.load(flow, tmp_path / "c.json")
        np.testing.assert_array_equal(loaded.p_value(new), calibrated.p_value(new))
    assert len(scores.calibrate(flow, images(40, 4), "typicality").held_out) == 20  # the others give the entropy
    for text in ("{", "[]", '{"score": "bits_per_dim"}', '{"score": "bits_per_dim", "held_out": [2, 1]}'):
        (tmp_path / "c.json").write_text(text)
        with pytest.raises(CorruptError, match="is no calibration"):
            calibration.Calibration.load(flow, tmp_path / "c.json")


@pytest.mark.backend_free
def test_a_rate_that_the_held_out_images_cannot_tell_is_refused(flow):
    calibrated = scores.calibrate(flow, images(98, 6))
    with pytest.raises(InputError, match="calibrate with at least 99 images"):
        calibrated.threshold(0.01)
    for rate in (0, 1, -0.1, float("nan")):
        with pytest.raises(InputError, match="between 0 and 1"):
            calibrated.threshold(rate)
    with pytest.raises(InputError, match="score is 'likelihood'"):
        scores.calibrate(flow, images(5, 0), "likelihood")


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="SavedModels need TensorFlow")
def test_the_exported_signature_gives_python_s_p_values(tmp_path):
    import tensorflow as tf

    from tfflows.export import export

    flow = Flow(layers.Rescale(NUM_VALUES), (1, 1, 1), NUM_VALUES)
    new = np.arange(NUM_VALUES, dtype="uint8").reshape(-1, 1, 1, 1)
    for score, n in (("bits_per_dim", 37), ("typicality", 64)):
        calibrated = scores.calibrate(flow, images(n, 7), score)
        export(flow, tmp_path / score, calibrated)
        served = tf.saved_model.load(str(tmp_path / score)).signatures["log_prob"](images=tf.constant(new))
        np.testing.assert_allclose(served["anomaly_p_value"].numpy(), calibrated.p_value(new), rtol=1e-6)
    export(flow, tmp_path / "png", scores.calibrate(flow, images(5, 7), "input_complexity"))  # no graph has PNG
    signature = tf.saved_model.load(str(tmp_path / "png")).signatures["log_prob"]
    assert set(signature.structured_outputs) == {"log_prob", "bits_per_dim"}


def test_what_is_trained_is_calibrated_on_its_validation_images(trained):
    recipe = zoo.recipe("tiny")
    calibrated = calibration.load_calibration(zoo.load("tiny"), trained)
    validation = data.arrays(recipe.data, "validation", 96)["image"]
    assert len(calibrated.held_out) == len(validation)
    np.testing.assert_allclose(np.sort(calibrated.scores(validation)), calibrated.held_out, atol=1e-4)


@pytest.mark.backend_free
def test_the_command_flags_what_is_no_digit_and_shows_it_first(tmp_path, capsys):
    folder, output = tmp_path / "images", tmp_path / "out"
    (folder / "noise").mkdir(parents=True)
    test = data.arrays(zoo.recipe("nice_digits").data, "test")["image"][:30]
    for index, image in enumerate(test):
        Image.fromarray(image[..., 0] * 15).save(folder / f"digit {index:02}.png")
    for index, image in enumerate(np.random.RandomState(0).randint(0, 256, (5, 8, 8)).astype("uint8")):
        Image.fromarray(image).save(folder / "noise" / f"{index}.png")
    command = ["score", "nice_digits", folder, "--false-alarm-rate", 0.02, "--num", 6, "--output", output]
    assert main([str(argument) for argument in command]) == 0
    assert "of 35 images are flagged at a false-alarm rate of 0.02" in capsys.readouterr().out
    rows = list(csv.DictReader((output / "scores.csv").read_text().splitlines()))
    assert [row["file"] for row in rows[-5:]] == [f"noise/{index}.png" for index in range(5)]
    assert all(row["flagged"] == "yes" for row in rows[-5:])
    assert sum(row["flagged"] == "yes" for row in rows[:-5]) <= 3
    page = (output / "strangest.html").read_text()
    assert page.count("<li") == 6
    assert page.index("noise/") < page.index("digit ")
    assert sorted(path.name for path in output.iterdir()) == ["scores.csv", "strangest.html"]
    assert json.loads((zoo.artefact("nice_digits") / calibration.FILE).read_text())["score"] == "bits_per_dim"
