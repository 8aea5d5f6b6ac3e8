"""What SQL cannot say: which workflow sent a request, and how far that can be trusted.

- The answer: `attribution`, from `evidence` by the `model` (its `steps`, `rates`, `delays`).
- Its trust: `calibration`, `checks`, `intervals` (on `blocks` of time, by `flows`), `expected`, `remarks`.
- Why: `explain`, from what `senders` say.
- Several logs: `observers`, `links`; the same request twice: `partners` (by `alignment`) and `sightings`;
  `clocks` (by `correlogram`).
"""
