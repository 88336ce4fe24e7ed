"""Settings of the evaluation. Nothing here imports torch."""

from dataclasses import dataclass
from typing import Literal

from outlier_matching.method.config import check_choices


@dataclass(frozen=True)
class EvaluateConfig:
    """Protocol of the evaluation and selection of queries."""

    protocol: Literal["full", "author"] = "full"
    """``full``: mean average precision over whole rankings. ``author``: the released script, which sums the precisions of the
    first 50 matches and divides by 5."""
    queries: Literal["classified_inliers", "inliers", "all"] = "classified_inliers"
    """Target images that are queries of T->S: those that the detector classifies as inliers (thesis 4.5.5; all without a
    detector), the true inliers, or all."""
    unanswerable: Literal["left_out", "zero"] = "left_out"
    """Queries without a match in the gallery, such as outliers. ``left_out``: ignored (standard MAP). ``zero``: average
    precision 0, which penalises undetected outliers. The author's protocol always counts them as 0."""
    recalls: Literal["eleven", "all"] = "eleven"
    """Recalls of the precision-recall curve: 0, 0.1, ... 1, or every recall that some query reaches."""
    max_queries: int = 0
    """Largest number of queries of each of the three rankings, drawn at random; 0 is all. Detection is scored on all images."""
    seed: int = 0
    """Seed of that draw."""

    def __post_init__(self) -> None:
        check_choices(self)
        if self.max_queries < 0:
            raise ValueError(f"max_queries must be 0 or more, got {self.max_queries}")
