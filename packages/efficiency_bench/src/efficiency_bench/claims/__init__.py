"""The claims of the thesis: a test over measured values for each, and the verdict that run records give by a stated rule."""

from efficiency_bench.claims.definitions import Claim, Claims, load_claims
from efficiency_bench.claims.judging import judge
from efficiency_bench.claims.ledger import Verdict, read_verdicts, write_verdicts
from efficiency_bench.claims.needs import claim_runs

__all__ = ["Claim", "Claims", "Verdict", "claim_runs", "judge", "load_claims", "read_verdicts", "write_verdicts"]
