"""What a notebook calls beside `wording`: findings, charts, the catalogue of questions."""
