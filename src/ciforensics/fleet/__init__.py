"""A made-up CI fleet with known truth, and the sample case that comes of one.

`model` says what a fleet is made from and what happened in it, `run` lets it run, `logs` tells it in each
log's words, `story` is the story of `data/samples`.
"""

from ciforensics.fleet.run import simulate
from ciforensics.fleet.story import sample_files, sample_fleet

__all__ = ["sample_files", "sample_fleet", "simulate"]
