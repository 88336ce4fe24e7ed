"""Drawing shapes, strokes and surfaces."""
