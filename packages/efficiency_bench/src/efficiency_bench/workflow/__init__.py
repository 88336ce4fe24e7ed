"""Tables, presets and data sets as documents, and the runs they need."""
