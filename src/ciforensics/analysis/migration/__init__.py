"""How far the move to golden images is, and what it brings."""
