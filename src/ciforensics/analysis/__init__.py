"""What SQL cannot say: which workflow sent a request, and how far that can be trusted.

- `links`: the same request in two logs, by how much clocks differ, which keys logs share.
- `attribution`: `candidates` become a `problem`; `em` fits the model, whose formula is in `clues`, to it.
- `trust`: `calibration`, `checks`, `intervals` (on `slices` of time, by `workflows`), `expected`, `remarks`.
- `answer`: the attribution of a case; `explanation`: why one request is attributed as it is.
- `migration`: how far the move to golden images is, and what it brings.

Each stands on those before it.
"""
