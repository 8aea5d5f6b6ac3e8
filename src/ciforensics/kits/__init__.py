"""What gets deployed to where requests are made: loggers that write what ciforensics reads best.

| module | what it is |
|---|---|
| `kinds` | what text a setting takes: types for pydantic's models |
| `kit` | what a kit is: its settings, a model of pydantic's; its files |
| `export` | finds the kits, writes one out |
| `docker_wrapper`, `docker_events`, `squid`, `mitmproxy` | a kit each, that records: files and a page |
| `golden_images` | a kit that cures: the files of golden images and of the mirror in front of them |
| `scheduled_report` | a kit that records nothing: it runs the report on what the others wrote |
| `golden` | no kit, but what `ciforensics golden` runs: reads the catalogue and Dockerfiles, verifies a git |

`golden_images` is what gets deployed, `golden` is the code around it, of which that kit uses the catalogue.
"""
