"""What SQL cannot say: attribution, clocks, progress."""
