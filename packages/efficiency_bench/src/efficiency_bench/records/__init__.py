"""Run records: what a run found, and what it rests on."""
