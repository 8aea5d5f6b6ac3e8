"""What a notebook calls: tables, findings, charts."""
