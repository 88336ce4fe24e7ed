"""Settings of experiments that make no sense are refused as wrong usage."""

from importlib import import_module

import pytest

from efficiency_core.errors import UsageError
from efficiency_core.settings import build


@pytest.mark.parametrize(
    ("experiment", "values", "expected"),
    [
        ("detection.video_detection", {"detector": {"horizon": 4}}, "keyframe_step 8 needs 7"),
        ("detection.video_detection", {"training": {"seed": 1}}, "training.seed must be 0"),
        ("detection.video_detection", {"detector": {"backbone": "resnet19"}}, "detector.backbone: expected one of"),
        ("detection.peer_detection", {"peer": {"window": 0}}, "window must be 1 or more"),
        ("detection.peer_detection", {"peer": {"method": "interpolation"}}, "peer.method must be one of per_frame"),
        ("detection.video_speed_accuracy", {"detector": {"horizon": 4}}, "steps 8 needs 7"),
        ("detection.video_speed_accuracy", {"timed_videos": 0}, "timed_videos must be 1 or more, got 0"),
        ("detection.video_detection_speed", {"detector": {"horizon": 4}}, "keyframe_steps 8 needs 7"),
        ("detection.detector_runtimes", {"forms": ["bf16"]}, "forms must be torch and some of torch, channels_last, bf16"),
        ("detection.detector_runtimes", {"forms": ["torch", "fp16"]}, "got torch, fp16"),
        ("detection.video_pipeline", {"keyframe_step": 17}, "keyframe_step may be 16 at most, got 17"),
        ("detection.simulated_motion_example", {"keyframes": 1}, "keyframes must be at least 2, got 1"),
        ("recognition.action_recognition", {"network": {"classes": 4}}, "network.classes must be 0"),
        ("recognition.action_recognition", {"training": {"seed": 1}}, "training.seed must be 0"),
        ("recognition.action_recognition", {"training": {"sampling": {"frames": -1}}}, "frames must be 0"),
        ("recognition.action_recognition", {"start": "weights_and_motion"}, "start weights_and_motion needs weights"),
        ("recognition.action_recognition", {"pictured_epochs": 0}, "pictured_epochs must be 1 or more, got 0"),
        ("recognition.action_recognition_cost", {"forms": ["tsm9"]}, "unknown form 'tsm9'; there are tsm8, "),
        ("recognition.action_recognition_cost", {"forms": []}, "at least one form"),
        ("recognition.action_recognition_cost", {"frames": 8}, "frames must be 16 or more, got 8"),
        ("recognition.action_recognition_cost", {"long_frames": 16}, "long_frames must be 0 or at least 32 frames, got 16"),
        ("recognition.action_recognition_cost", {"network": {"clusters": 8}}, "network.clusters must be 0"),
        ("recognition.gradient_similarity", {"videos": 0}, "videos must be 1 or more, got 0"),
        ("recognition.gradient_similarity", {"network": {"clusters": 0}}, "network.clusters must be at least 1, got 0"),
        ("matching.image_matching", {"front": "isolation_forest"}, "needs training.method siamese_da and an outlier_share above"),
        ("matching.image_matching", {"front": "isolation_forest", "training": {"method": "siamese_da"}}, "got siamese_da and 0"),
        ("matching.image_matching", {"outlier_share": 1.0}, r"outlier_share must be in \[0, 1\), got 1.0"),
        ("matching.image_matching", {"outlier_share": 0.6}, "at most 0.5, the method's assumption"),
        ("matching.image_matching", {"training": {"seed": 1}}, "training.seed must be 0 and training.outlier_share null"),
        ("matching.image_matching", {"training": {"method": "dann"}}, "method: expected one of siamese, siamese_da, da_outlier"),
        ("matching.matching_cost", {"samples": 7}, "samples must be even"),
        ("matching.matching_cost", {"rounds": 0}, "rounds must be 1 or more, got 0"),
        ("matching.matching_cost", {"ranked": 10}, "ranked must be at least 50, the matches kept, got 10"),
        ("matching.matching_toy", {"outlier_share": 0.7}, "at most 0.5"),
        ("normalisation.activation_distributions", {"width": 4}, "width must be 8 or more"),
        ("normalisation.domain_adaptation", {"tuning": {"epochs": 0}}, "epochs must be 1 or more"),
        ("normalisation.domain_adaptation", {"tuning": {"seed": 1}}, r"training\.seed and training\.steps must be 0"),
        ("normalisation.image_classification", {"training": {"batch_size": 0}}, "batch_size must be 1 or more"),
        ("normalisation.image_classification", {"training": {"seed": 3}}, "training.seed and training.steps must be 0"),
        ("normalisation.image_classification", {"single_learning_rate": 0.0}, "single_learning_rate must be positive"),
        ("normalisation.image_classification", {"start": "unaligned", "network": {"align": False}}, "needs network.align true"),
        ("normalisation.image_classification", {"fine_tuning_share": 0.0}, r"fine_tuning_share must be in \(0, 1\]"),
        ("normalisation.image_classification", {"start": "unaligned", "weights": "x.pt"}, "leave weights empty"),
        ("normalisation.image_classification", {"search": {"factors": [0.0]}}, "search: factors must be positive"),
        ("normalisation.image_classification", {"search": {"held_out": 1.0}}, r"held_out must be in \(0, 1\), got 1.0"),
        ("normalisation.image_classification", {"pictured_epochs": -1}, "pictured_epochs must be 0 or more"),
        ("normalisation.image_classification", {"network": {"norm": "batch"}}, "one of none, bn"),
        ("normalisation.image_classification", {"network": {"norm": "wn"}}, "norm=wn and align=true both replace the weight"),
        ("normalisation.weight_align_cost", {"forms": ["frn"]}, "unknown form 'frn'; there are plain, fixup"),
        ("normalisation.weight_align_cost", {"rounds": 0}, "rounds must be 1 or more"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(experiment: str, values: dict[str, object], expected: str) -> None:
    settings_type = import_module(f"efficiency_bench.experiments.{experiment}").EXPERIMENT.settings_type
    with pytest.raises(UsageError, match=expected):
        build(settings_type, values, "row")
