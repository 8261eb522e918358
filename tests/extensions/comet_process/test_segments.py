import math

import pytest

from benchbench.core.types import FilterSpec
from benchbench.extensions.comet import CometModel, Segment, short_name
from benchbench.extensions.comet.process import item_score, segment_key, segments_of
from tests.extensions.comet_process.fake import FACTS
from tests.scoring.make import spec_of
from tests.store.make import item

WRITTEN = {"loglikelihoods": (), "is_greedy": (), "finish_reasons": ("stop",), "num_tokens": (3,)}


def test_a_segment_is_what_the_filter_leaves_against_every_reference():
    written = item(texts=("Ahoj 7",), targets=("Salut", "Bonjour"), **WRITTEN)
    plain = segments_of(spec_of("generate_until", "bleu"), written, "Hi", reads_reference=True)
    assert plain == {None: ((Segment("Hi", "Ahoj 7", "Salut"), Segment("Hi", "Ahoj 7", "Bonjour")),)}
    digits = FilterSpec("digits", (("regex", {"regex_pattern": "(\\d)", "fallback": ""}), ("take_first", {})))
    whole = FilterSpec("whole", (("take_first", {}),))
    both = segments_of(spec_of("generate_until", "bleu", filters=(whole, digits)), written, "Hi", reads_reference=False)
    assert both == {"whole": ((Segment("Hi", "Ahoj 7"),),), "digits": ((Segment("Hi", "7"),),)}


def test_an_item_scores_the_mean_of_its_texts_by_their_best_references():
    a, b, c, d = (Segment("s", text, ref) for text in "xy" for ref in "12")
    assert item_score(((a, b), (c, d)), {a: 0.1, b: 0.4, c: 0.8, d: 0.2}) == pytest.approx(0.6)
    assert item_score(((a,),), {a: math.nan}) is None


def test_a_score_is_kept_only_for_the_same_model_and_the_same_texts():
    model = CometModel.of("org/tiny", FACTS)
    keys = {
        segment_key(made, segment)
        for made in (model, CometModel.of("org/tiny", {**FACTS, "sha256": "0" * 64}))
        for segment in (Segment("a", "b", "c"), Segment("a", "bc", ""), Segment("a", "b"), Segment("ab", "", "c"))
    }
    assert len(keys) == 8
    other_versions = CometModel.of("org/tiny", {**FACTS, "versions": {"comet": "2.2.7", "setuptools": "70"}})
    assert segment_key(other_versions, Segment("a", "b")) != segment_key(model, Segment("a", "b"))
    assert other_versions.identity == model.identity


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("Unbabel/wmt22-comet-da", "wmt22-comet-da"),
        ("/models/wmt22-comet-da/checkpoints/model.ckpt", "wmt22-comet-da"),
        ("/models/wmt22-comet-da/", "wmt22-comet-da"),
        ("/models/my,comet=1.ckpt", "my_comet_1"),
        ("/c/models--Unbabel--wmt22-cometkiwi-da/snapshots/1ad/checkpoints/model.ckpt", "wmt22-cometkiwi-da"),
    ],
)
def test_a_model_has_the_same_name_from_the_hub_and_from_a_folder(model, name):
    assert short_name(model) == name


def test_the_signature_names_model_checkpoint_and_versions():
    model = CometModel.of("Unbabel/wmt22-comet-da", FACTS)
    assert model.signature == (
        "comet:2.2.7|model:wmt22-comet-da|sha256:abababababab|layer_transformation:softmax|torch:1"
    )
